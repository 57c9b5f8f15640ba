"""Write TFRecord shards again: another number or size of them, another order, another compression.

    tfdml reshard shards --output_dir=shards64 --num_shards=64
    tfdml reshard shards --output_dir=shards_gzip --noshuffle --compression=gzip
    tfdml reshard 'old/train-*' --output_dir=new --shard_bytes=256MiB --seed=7

(or: python -m data_tools.reshard ...). Every record is passed on byte for byte, in its split, with its
label in the new index; nothing is decoded. The result depends on the flags and the input alone, and an
interrupted run goes on when the same command is given again.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tfdml.cli.conversion_flags import ConversionFlags
from tfdml.cli.data_tool import run_tool
from tfdml.data.conversion.request import Conversion
from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest
from tfdml.data.format.shards import parse_shard_name
from tfdml.data.inputs.input import open_input
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import ConfigError

_INPUT = flags.DEFINE_multi_string(
    "input", [], "A directory of shards, or a pattern of files in quotes."
)
_OUTPUT = ConversionFlags(default_name="as it was")
_INPUT_SPLIT = flags.DEFINE_string("input_split", "", "Only this split (default: all).")


def main(words: list[str]) -> int:
    return _OUTPUT.run(_request([*words, *_INPUT.value]))


def _request(patterns: list[str]) -> Conversion:
    if not patterns:
        raise ConfigError("--input is missing. See --help.")
    _OUTPUT.check_output_dir()
    options = InputOptions(input_split=_INPUT_SPLIT.value, raw=True)
    data = open_input("tfrecord", patterns, options)
    before = _manifest(patterns)
    shard = parse_shard_name(Path(data.files[0].path).name)
    return Conversion(
        input=data,
        name=_OUTPUT.name
        or (before.name if before else (shard and shard.name) or _OUTPUT.directory_name()),
        **_OUTPUT.settings(),
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
