"""The flags that `convert` and `reshard` share: where shards go, how many there are, and how they are written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from absl import flags

from tfdml.data.conversion.progress import shown
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import Interrupted, convert
from tfdml.data.conversion.sizes import parse_size
from tfdml.data.conversion.told import plan_lines, result_lines
from tfdml.errors import ConfigError
from tfdml.storage import is_remote

_INTERRUPTED = 130  # As a shell counts: 128 + SIGINT.


class ConversionFlags:
    """Flags of the tool that makes one, defined at that moment; values are there once flags are parsed.

    Args:
        default_name: what a data set is called without --name, for --help.
    """

    def __init__(self, default_name: str) -> None:
        # The flags belong to the tool, so that its --help shows them where they are defined; and both tools, or one
        # twice, may run in one process.
        of_tool: dict[str, Any] = {"module_name": sys.argv[0], "allow_override": True}
        self._output_dir = flags.DEFINE_string(
            "output_dir", None, "Where the shards go: a directory or a URL.", **of_tool
        )
        self._name = flags.DEFINE_string(
            "name", None, f"Name of the data set (default: {default_name}).", **of_tool
        )
        self._num_shards = flags.DEFINE_integer(
            "num_shards",
            None,
            "Files of each split (default: of 256 MiB each, and at least 4).",
            lower_bound=1,
            **of_tool,
        )
        self._shard_bytes = flags.DEFINE_string(
            "shard_bytes", None, "Size of a file, about, e.g. 256MiB.", **of_tool
        )
        self._seed = flags.DEFINE_integer(
            "seed", 0, "Of the order of the records.", lower_bound=0, **of_tool
        )
        self._shuffle = flags.DEFINE_boolean(
            "shuffle", True, "Shuffle the records, or keep their order.", **of_tool
        )
        self._compression = flags.DEFINE_enum(
            "compression",
            "none",
            ["none", "gzip"],
            "Of the shards; gzip cannot be read at random.",
            **of_tool,
        )
        self._num_processes = flags.DEFINE_integer(
            "num_processes",
            None,
            "At most so many (default: one for each processor).",
            lower_bound=1,
            **of_tool,
        )
        self._memory_bytes = flags.DEFINE_string(
            "memory_bytes",
            "4GiB",
            "For all processes together. More of it shuffles more at a time, so it is part of what makes the order.",
            **of_tool,
        )
        self._on_error = flags.DEFINE_enum(
            "on_error",
            "fail",
            ["fail", "skip", "quarantine"],
            "Rows that cannot be used: fail ends the run, skip lists them in errors.jsonl, quarantine also keeps "
            "what was read of them.",
            **of_tool,
        )
        self._max_error_fraction = flags.DEFINE_float(
            "max_error_fraction",
            0.05,
            "Fail if more than this part of all rows cannot be used.",
            **of_tool,
        )
        self._temp_dir = flags.DEFINE_string(
            "temp_dir",
            None,
            "For the intermediate copy of the data (default: within --output_dir).",
            **of_tool,
        )
        self._dry_run = flags.DEFINE_boolean(
            "dry_run", False, "Print what would be done, and do nothing.", **of_tool
        )

    @property
    def name(self) -> str | None:
        """--name, or None."""
        return self._name.value

    def check_output_dir(self) -> None:
        """Raises ConfigError without --output_dir."""
        if not self._output_dir.value:
            raise ConfigError("--output_dir is missing. See --help.")

    def directory_name(self) -> str:
        """The last part of --output_dir, the name of a data set that has no other."""
        return Path(self._output_dir.value).resolve().name

    def settings(self) -> dict[str, Any]:
        """Arguments of `Conversion`, all but `input`, `name` and what describes the input.

        Raises:
            ConfigError: a size cannot be read.
        """
        output_dir, temp_dir = self._output_dir.value, self._temp_dir.value
        size = self._shard_bytes.value
        return {
            "output_dir": output_dir
            if is_remote(output_dir)
            else str(Path(output_dir).expanduser()),
            "num_shards": self._num_shards.value,
            "shard_bytes": None if size is None else parse_size("shard_bytes", size),
            "seed": self._seed.value,
            "shuffle": self._shuffle.value,
            "compression": "GZIP" if self._compression.value == "gzip" else "",
            "memory_bytes": parse_size("memory_bytes", self._memory_bytes.value),
            "on_error": self._on_error.value,
            "max_error_fraction": self._max_error_fraction.value,
            "temp_dir": Path(temp_dir).expanduser() if temp_dir else None,
        }

    def run(self, request: Conversion) -> int:
        """Convert, or say what would be done; returns the exit status."""
        if self._dry_run.value:
            for line in plan_lines(request, self._num_processes.value):
                print(line)
            return 0
        try:
            result = convert(request, num_processes=self._num_processes.value, progress=shown())
        except Interrupted as error:
            print(error, file=sys.stderr)
            return _INTERRUPTED
        for line in result_lines(result):
            print(line)
        return 0
