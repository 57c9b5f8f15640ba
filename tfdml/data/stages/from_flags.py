"""From the flags of a command line to stages, in the one order in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfdml.data.inputs.options import Flag
from tfdml.data.stages.stage import Stage

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
        "the last dimension), or given: NAME:MEAN:DEVIATION.",
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
        "`tokenizers` package).",
    ),
    Flag("pack_length", "integer", 0, "Join the tokens of documents and cut rows of this length."),
    Flag(
        "pack_eos",
        "integer",
        None,
        "pack: number put after each document (default: of the tokeniser).",
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
    raise NotImplementedError
