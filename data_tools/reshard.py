"""Write TFRecord shards again: another number or size of them, another order, another compression.

    tfdml reshard shards --output_dir=shards64 --num_shards=64
    tfdml reshard shards --output_dir=shards_gzip --noshuffle --compression=gzip
    tfdml reshard 'old/train-*' --output_dir=new --shard_bytes=256MiB --seed=7

(or: python -m data_tools.reshard ...). Every record is passed on byte for byte, in its split, with its
label in the new index; nothing is decoded. The result depends on the flags and the input alone, and an
interrupted run goes on when the same command is given again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from absl import flags

from tfdml.cli.data_tool import run_tool
from tfdml.data.conversion.progress import shown
from tfdml.data.conversion.request import Conversion, OnError
from tfdml.data.conversion.run import Interrupted, convert
from tfdml.data.conversion.sizes import parse_size
from tfdml.data.conversion.told import plan_lines, result_lines
from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest
from tfdml.data.format.shards import parse_shard_name
from tfdml.data.inputs.input import open_input
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import ConfigError

_INPUT = flags.DEFINE_multi_string(
    "input", [], "A directory of shards, or a pattern of files in quotes."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where the shards go: a directory or a URL.")
_NAME = flags.DEFINE_string("name", None, "Name of the data set (default: as it was).")
_INPUT_SPLIT = flags.DEFINE_string("input_split", "", "Only this split (default: all).")
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    None,
    "Files of each split (default: of 256 MiB each, and at least 4).",
    lower_bound=1,
)
_SHARD_BYTES = flags.DEFINE_string("shard_bytes", None, "Size of a file, about, e.g. 256MiB.")
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
    "Damaged records: fail ends the run, skip lists them in errors.jsonl, quarantine also keeps what was read.",
)
_MAX_ERROR_FRACTION = flags.DEFINE_float(
    "max_error_fraction", 0.05, "Fail if more than this part of all records is damaged."
)
_TEMP_DIR = flags.DEFINE_string(
    "temp_dir", None, "For the intermediate copy of the data (default: within --output_dir)."
)
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print what would be done, and do nothing.")


def main(words: list[str]) -> int | None:
    request = _request([*words, *_INPUT.value])
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


def _request(patterns: list[str]) -> Conversion:
    if not patterns or not _OUTPUT_DIR.value:
        raise ConfigError(f"{'--output_dir' if patterns else '--input'} is missing. See --help.")
    options = InputOptions(input_split=_INPUT_SPLIT.value, raw=True)
    data = open_input("tfrecord", patterns, options)
    before = _manifest(patterns)
    shard = parse_shard_name(Path(data.files[0].path).name)
    return Conversion(
        input=data,
        output_dir=_OUTPUT_DIR.value
        if "://" in _OUTPUT_DIR.value
        else str(Path(_OUTPUT_DIR.value).expanduser()),
        name=_NAME.value
        or (
            before.name
            if before
            else (shard and shard.name) or Path(_OUTPUT_DIR.value).resolve().name
        ),
        num_shards=_NUM_SHARDS.value,
        shard_bytes=parse_size("shard_bytes", _SHARD_BYTES.value) if _SHARD_BYTES.value else None,
        seed=_SEED.value,
        shuffle=_SHUFFLE.value,
        compression="GZIP" if _COMPRESSION.value == "gzip" else "",
        memory_bytes=parse_size("memory_bytes", _MEMORY_BYTES.value),
        on_error=cast(OnError, _ON_ERROR.value),
        max_error_fraction=_MAX_ERROR_FRACTION.value,
        temp_dir=Path(_TEMP_DIR.value).expanduser() if _TEMP_DIR.value else None,
        inherited=before,
        flags={
            "format": "tfrecord",
            "raw": True,
            "input": patterns,
            "input_split": _INPUT_SPLIT.value,
        },
    )


def _manifest(patterns: list[str]) -> DatasetManifest | None:
    """That of the input, if it is one directory with a manifest."""
    directory = Path(patterns[0])
    if len(patterns) > 1 or not (directory / FILE_NAME).exists():
        return None
    return DatasetManifest.read(directory)


if __name__ == "__main__":
    run_tool(main, __doc__)
