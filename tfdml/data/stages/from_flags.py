"""From the flags of a command line to stages, in the one order in which they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tfdml.data.inputs.options import Flag
from tfdml.data.stages.images import QUALITY, TransformImage
from tfdml.data.stages.normalise import parse_normalise
from tfdml.data.stages.numbers import Cast
from tfdml.data.stages.pack import Pack
from tfdml.data.stages.pixels import parse_resize, parse_size
from tfdml.data.stages.simple import Rename
from tfdml.data.stages.stage import Stage
from tfdml.data.stages.tokenise import Tokenise, ends_and_pads, parse_tokenise
from tfdml.data.stages.vocabulary import parse_vocabulary
from tfdml.errors import ConfigError

STAGE_FLAGS = (
    Flag("rename", "list", (), "OLD:NEW, before all else; other flags use the new name."),
    Flag(
        "resize",
        "list",
        (),
        "Images, e.g. image:224x224 (height x width, stretched), image:224x224:crop, image:224x224:pad, "
        "image:256 (the shorter side; antialiased).",
    ),
    Flag("center_crop", "list", (), "Images, after --resize, e.g. image:224x224."),
    Flag(
        "encode",
        "list",
        (),
        "How images are stored: image:png, image:jpeg, image:jpeg:90 (quality).",
    ),
    Flag("cast", "list", (), "NAME:DTYPE, e.g. x:float16."),
    Flag(
        "normalise",
        "list",
        (),
        "Tensors to mean 0 and deviation 1, found in a first pass (NAME, or NAME:each for each element of "
        "the last dimension), or given: NAME:MEAN:DEVIATION, with ';' between several.",
    ),
    Flag(
        "vocabulary",
        "list",
        (),
        "Words to numbers: NAME:SIZE (the most frequent, in a first pass), NAME:SIZE:MIN_COUNT, or "
        "NAME:FILE (a word a line). 0 is for words that are not in it.",
    ),
    Flag(
        "tokenize",
        "list",
        (),
        "Text to numbers: NAME:bytes, NAME:chars[:SIZE], NAME:words[:SIZE], or NAME:FILE.json (of the "
        "`tokenizers` package). Of the first three, 0 pads, 1 ends a document, 2 is not in the vocabulary.",
    ),
    Flag("pack_length", "integer", 0, "Join the tokens of documents and cut rows of this length."),
    Flag(
        "pack_feature",
        "string",
        "",
        "pack: the feature with the tokens (default: that of --tokenize).",
    ),
    Flag(
        "pack_eos",
        "integer",
        None,
        "pack: number put after each document (default: the tokeniser's; -1 for none).",
    ),
    Flag(
        "pack_tail",
        "string",
        "pad",
        "pack: what is left at the end of a fragment is 'pad'ded or 'drop'ped.",
    ),
    Flag("pack_segments", "boolean", False, "pack: also store segment_ids and positions."),
)


def stages_from_flags(values: Mapping[str, Any]) -> list[Stage]:
    """The stages that flags ask for; `values` maps names of `STAGE_FLAGS` to values, missing ones are unset.

    Raises:
        ConfigError: for a value that cannot be understood. What needs the schema is checked by
            `schema_after`.
    """
    given: dict[str, Any] = {flag.name: values.get(flag.name) for flag in STAGE_FLAGS}
    given = {
        flag.name: flag.default if given[flag.name] is None else given[flag.name]
        for flag in STAGE_FLAGS
    }
    renames = [_rename(text) for text in given["rename"]]
    tokenise = [parse_tokenise(text) for text in given["tokenize"]]
    stages: list[Any] = [
        *renames,
        *_images(given),
        *(parse_normalise(text) for text in given["normalise"]),
        *(Cast(*_name_and_value("cast", text)) for text in given["cast"]),
        *(parse_vocabulary(text) for text in given["vocabulary"]),
        *tokenise,
    ]
    _check_twice(stages)
    return [*stages, *_pack(given, tokenise)]


def changes_images(values: Mapping[str, Any]) -> bool:
    """Whether flags ask for images to be encoded again: for `InputOptions.reencode`."""
    return any(values.get(name) for name in ("resize", "center_crop", "encode"))


def _rename(text: str) -> Rename:
    old, new = _name_and_value("rename", text)
    return Rename(old, new)


def _images(given: Mapping[str, Any]) -> list[TransformImage]:
    """One stage an image feature, so that it is decoded and encoded once."""
    stages: dict[str, TransformImage] = {}
    for text in given["resize"]:
        name, size = _name_and_value("resize", text)
        _once(stages.get(name), "resize", name)
        stages[name] = TransformImage(name, resize=parse_resize(size, f"--resize={text}"))
    for text in given["center_crop"]:
        name, size = _name_and_value("center_crop", text)
        stage = stages.get(name, TransformImage(name))
        _once(stage.crop, "center_crop", name)
        stages[name] = replace(stage, crop=parse_size(size, f"--center_crop={text}"))
    for text in given["encode"]:
        name, how = _name_and_value("encode", text)
        stage = stages.get(name, TransformImage(name))
        _once(stage.encoding, "encode", name)
        encoding, _, quality = how.partition(":")
        is_quality = encoding == "jpeg" and quality.isdecimal() and 1 <= int(quality) <= 100
        if encoding not in ("png", "jpeg") or (quality and not is_quality):
            raise ConfigError(
                f"--encode={text}: it is {name}:png, {name}:jpeg, or {name}:jpeg:QUALITY with a quality of 1 "
                "to 100."
            )
        stages[name] = replace(stage, encoding=encoding, quality=int(quality or QUALITY))
    return list(stages.values())


def _pack(given: Mapping[str, Any], tokenise: list[Tokenise]) -> list[Pack]:
    if not given["pack_length"]:
        for name in ("pack_eos", "pack_segments", "pack_feature"):
            if given[name] not in (None, False, ""):
                raise ConfigError(f"--{name} is for packing, which --pack_length=LENGTH asks for.")
        return []
    feature = given["pack_feature"]
    if not feature and len(tokenise) != 1:
        raise ConfigError(
            "--pack_length: which feature holds the tokens? Say --pack_feature=NAME, or tokenise one "
            "feature with --tokenize."
        )
    of_feature = [stage for stage in tokenise if stage.feature == feature or not feature]
    end, pad = ends_and_pads(of_feature[0] if of_feature else None)
    if given["pack_eos"] is not None:
        end = given["pack_eos"] if given["pack_eos"] >= 0 else None
    return [
        Pack(
            feature or tokenise[0].feature,
            given["pack_length"],
            end,
            pad,
            given["pack_tail"],
            bool(given["pack_segments"]),
        )
    ]


def _name_and_value(flag: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    if not name or not value:
        help = next(each.help for each in STAGE_FLAGS if each.name == flag)
        raise ConfigError(f"--{flag}={text}: a feature and a value with ':' between. {help}")
    return name, value


def _once(before: Any, flag: str, name: str) -> None:
    if before:
        raise ConfigError(f"--{flag} names the feature {name!r} twice.")


def _check_twice(stages: list[Any]) -> None:
    seen = Counter((type(stage).__name__, stage.features) for stage in stages)
    for (kind, names), number in seen.items():
        if number > 1:
            raise ConfigError(f"The feature {names[0]!r} is named twice by one flag ({kind}).")
