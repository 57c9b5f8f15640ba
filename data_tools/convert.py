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

import sys
from pathlib import Path
from typing import Any, cast

from absl import flags

from tfdml.cli.data_tool import run_tool
from tfdml.data.conversion.progress import shown
from tfdml.data.conversion.request import Conversion, OnError
from tfdml.data.conversion.run import Interrupted, convert
from tfdml.data.conversion.sizes import parse_size
from tfdml.data.conversion.splits import Splits
from tfdml.data.conversion.told import plan_lines, result_lines
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
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where the shards go: a directory or a URL.")
_NAME = flags.DEFINE_string("name", None, "Name of the data set (default: that of --output_dir).")
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    None,
    "Files of each split (default: of 256 MiB each, and at least 4).",
    lower_bound=1,
)
_SHARD_BYTES = flags.DEFINE_string("shard_bytes", None, "Size of a file, about, e.g. 256MiB.")
_SPLIT = flags.DEFINE_string(
    "split", None, "Splits and their parts, e.g. train:0.9,test:0.1; instead of those of the input."
)
_TEST_FRACTION_FLAG = flags.DEFINE_float(
    "test_fraction", None, "Short for --split=train:...,test:...; 0: no test split."
)
_STRATIFY = flags.DEFINE_string(
    "stratify", None, "Divide each class of this label by itself; '' divides all rows together."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the order of the records.", lower_bound=0)
_SHUFFLE = flags.DEFINE_boolean("shuffle", True, "Shuffle the records, or keep their order.")
_COMPRESSION = flags.DEFINE_enum(
    "compression", "none", ["none", "gzip"], "Of the shards; gzip cannot be read at random."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "At most so many (default: one for each processor).", lower_bound=1
)
_MEMORY_BYTES = flags.DEFINE_string(
    "memory_bytes",
    "4GiB",
    "For all processes together. More of it shuffles more at a time, so it is part of what makes the order.",
)
_ON_ERROR = flags.DEFINE_enum(
    "on_error",
    "fail",
    ["fail", "skip", "quarantine"],
    "Rows that cannot be used: fail ends the run, skip lists them in errors.jsonl, quarantine also keeps what was "
    "read of them.",
)
_MAX_ERROR_FRACTION = flags.DEFINE_float(
    "max_error_fraction", 0.05, "Fail if more than this part of all rows cannot be used."
)
_TEMP_DIR = flags.DEFINE_string(
    "temp_dir", None, "For the intermediate copy of the data (default: within --output_dir)."
)
_LICENSE = flags.DEFINE_string("license", "", "Of the data; free text for the manifest.")
_SOURCE = flags.DEFINE_string("source", "", "Where the data come from; free text.")
_DESCRIPTION = flags.DEFINE_string("description", "", "Free text.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print what would be done, and do nothing.")
_OPTIONS = {
    flag.name: _DEFINE[flag.kind](flag.name, flag.default, flag.help)
    for flag in (*INPUT_FLAGS, *STAGE_FLAGS)
}


def main(words: list[str]) -> int | None:
    request = _request(words)
    if _DRY_RUN.value:
        for line in plan_lines(request, _NUM_PROCESSES.value):
            print(line)
        return None
    try:
        result = convert(request, num_processes=_NUM_PROCESSES.value, progress=shown())
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 130
    for line in result_lines(result):
        print(line)
    return None


def _request(words: list[str]) -> Conversion:
    if not _FORMAT.value or not _OUTPUT_DIR.value:
        missing = _OUTPUT_DIR if _FORMAT.value else _FORMAT
        raise ConfigError(f"--{missing.name} is missing. See --help.")
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
        output_dir=_OUTPUT_DIR.value
        if "://" in _OUTPUT_DIR.value
        else str(Path(_OUTPUT_DIR.value).expanduser()),
        name=_NAME.value or Path(_OUTPUT_DIR.value).resolve().name,
        stages=tuple(stages_from_flags(options)),
        splits=_splits(data),
        num_shards=_NUM_SHARDS.value,
        shard_bytes=parse_size("shard_bytes", _SHARD_BYTES.value) if _SHARD_BYTES.value else None,
        seed=_SEED.value,
        shuffle=_SHUFFLE.value,
        compression="GZIP" if _COMPRESSION.value == "gzip" else "",
        memory_bytes=parse_size("memory_bytes", _MEMORY_BYTES.value),
        on_error=cast(OnError, _ON_ERROR.value),
        max_error_fraction=_MAX_ERROR_FRACTION.value,
        temp_dir=Path(_TEMP_DIR.value).expanduser() if _TEMP_DIR.value else None,
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
