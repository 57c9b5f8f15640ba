"""Write data of many formats as TFRecord shards that are balanced, shuffled, indexed and described.

    tfdml convert --format=image_folder --input='images/*/*.jpg' --output_dir=shards --num_shards=64
    tfdml convert --format=csv --input=wine.csv --label=quality --output_dir=wine --split=train:0.8,test:0.2
    tfdml convert --format=text --input='books/*.txt' --tokenize=text:bytes --pack_length=1024 \\
        --output_dir=s3://bucket/books --shard_bytes=256MiB
    tfdml convert --format=image_folder --input='photos/*/*' --resize=image:224x224:crop --encode=image:jpeg:90 \\
        --output_dir=photos224 --on_error=skip
    tfdml convert --format=tfds --input=mnist --output_dir=mnist --dry_run

(or: python -m data_tools.convert ...). Many processes read; what they write depends on the flags and
the input alone, never on how many there were. Interrupted, killed or out of disk: the same command goes
on from where it was. Train on the result with --set data.dataset=DIR; `tfdml inspect DIR` shows it.

Rows go to splits by a hash of their key, so a row stays where it is when others come. Data with one
label are split 80:20 into train and test, class by class, unless --split or --test_fraction says
otherwise, or the input has splits of its own.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from tfdml.cli.conversion_flags import ConversionFlags
from tfdml.cli.data_tool import run_tool
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.splits import Splits
from tfdml.data.inputs.input import FORMATS, Input, open_input
from tfdml.data.inputs.options import INPUT_FLAGS, InputOptions
from tfdml.data.stages.from_flags import STAGE_FLAGS, stages_from_flags
from tfdml.errors import ConfigError

_DEFINE: dict[str, Any] = {
    "string": flags.DEFINE_string,
    "list": flags.DEFINE_list,
    "integer": flags.DEFINE_integer,
    "float": flags.DEFINE_float,
    "boolean": flags.DEFINE_boolean,
}
_REENCODING = ("resize", "center_crop", "encode")
_TEST_FRACTION = 0.2

_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    list(FORMATS),
    "; ".join(f"{name}: {each.help}" for name, each in FORMATS.items()),
)
_INPUT = flags.DEFINE_multi_string(
    "input", [], "Pattern of the files, in quotes, a directory, or a name (tfds)."
)
_OUTPUT = ConversionFlags(default_name="that of --output_dir")
_SPLIT = flags.DEFINE_string(
    "split", None, "Splits and their parts, e.g. train:0.9,test:0.1; instead of those of the input."
)
_TEST_FRACTION_FLAG = flags.DEFINE_float(
    "test_fraction", None, "Short for --split=train:...,test:...; 0: no test split."
)
_STRATIFY = flags.DEFINE_string(
    "stratify", None, "Divide each class of this label by itself; '' divides all rows together."
)
_LICENSE = flags.DEFINE_string("license", "", "Of the data; free text for the manifest.")
_SOURCE = flags.DEFINE_string("source", "", "Where the data come from; free text.")
_DESCRIPTION = flags.DEFINE_string("description", "", "Free text.")
_OPTIONS = {
    flag.name: _DEFINE[flag.kind](flag.name, flag.default, flag.help)
    for flag in (*INPUT_FLAGS, *STAGE_FLAGS)
}


def main(words: list[str]) -> int:
    return _OUTPUT.run(_request(words))


def _request(words: list[str]) -> Conversion:
    if not _FORMAT.value:
        raise ConfigError("--format is missing. See --help.")
    _OUTPUT.check_output_dir()
    if words:
        raise ConfigError(f"{words[0]!r} is no flag; put the pattern of --input in quotes.")
    if not _INPUT.value and _FORMAT.value != "digits":
        raise ConfigError(
            f"--format={_FORMAT.value} needs --input: {FORMATS[_FORMAT.value].help}. See --help."
        )
    options = {name: holder.value for name, holder in _OPTIONS.items()}
    reencode = any(options[name] for name in _REENCODING)
    data = open_input(
        _FORMAT.value, _INPUT.value, InputOptions.from_flags(options, reencode=reencode)
    )
    return Conversion(
        input=data,
        name=_OUTPUT.name or _OUTPUT.directory_name(),
        **_OUTPUT.settings(),
        stages=tuple(stages_from_flags(options)),
        splits=_splits(data),
        flags={"format": _FORMAT.value, "input": list(_INPUT.value)}
        | {
            flag.name: options[flag.name]
            for flag in (*INPUT_FLAGS, *STAGE_FLAGS)
            if options[flag.name] != flag.default
        },
        licence=_LICENSE.value,
        source=_SOURCE.value,
        description=_DESCRIPTION.value,
    )


def _splits(data: Input) -> Splits | None:
    """As the flags say; else those of the input; else 80:20 where there is one label."""
    labels = [name for name, feature in data.schema.items() if feature.kind == "label"]
    stratify = _STRATIFY.value
    if stratify is None:
        stratify = labels[0] if len(labels) == 1 else ""
    fraction = _TEST_FRACTION_FLAG.value
    if _SPLIT.value is not None:
        if fraction is not None:
            raise ConfigError("--split and --test_fraction are both given; use --split.")
        return Splits.parse(_SPLIT.value, stratify)
    if fraction is None:
        has_own = bool(getattr(data, "split_bytes", dict)())
        if has_own or len(labels) != 1:
            return None
        fraction = _TEST_FRACTION
    if not 0 <= fraction < 1:
        raise ConfigError(f"--test_fraction must be in [0, 1), got {fraction}.")
    return Splits({"train": 1 - fraction, "test": fraction}, stratify) if fraction else Splits()


if __name__ == "__main__":
    run_tool(main, __doc__)
