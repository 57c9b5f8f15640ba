"""The `tfdml` command.

A subcommand NAME is one row of `COMMANDS` and a module `tfdml/cli/NAME.py` (dashes as underscores) with

    def main(argv: Sequence[str]) -> int | None: ...

`argv` holds what follows the subcommand's name; the result is the exit status (None: 0). The data tools
run a script of `data_tools` (data_tool.py); every other module
parses `argv` with an `argparse.ArgumentParser(prog="tfdml NAME")` of its own, raises
`tfdml.errors.TfdmlError` for what the user can put right, and imports TensorFlow, if it needs it,
inside functions: `tfdml launch --help` must answer at once.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from tfdml.errors import ConfigError, exit_on_user_error
from tfdml.version import __version__

COMMANDS = {
    "launch": "run a script as one task or several, on this host or on many",
    "doctor": "say what is installed, what is there, and what would go wrong",
    "cluster": "say how the cluster is found here, or write a file that starts a job somewhere",
    "build-ops": "compile the native ops for this host, or for a wheel to carry",
    "convert": "write data of many formats as TFRecord shards",
    "inspect": "say what a directory of shards holds, and show records",
    "verify": "check shards for damage, loss, and what does not fit their manifest",
    "reshard": "write shards again: another number of them, another order or compression",
    "stats": "count labels and summarise the values of a directory of shards",
    "recipes": "list the training recipes that come with tfdml, and copy one to start from",
    "runs": "list and compare runs of recipes, and say which exported version is the current one",
    "top": "show all tasks of a job in the terminal, while it runs and afterwards",
    "report": "write a run as one HTML file: curves, where time goes, restarts, bytes, cost",
    "stacks": "print the Python stacks of all tasks of a job, now",
}

_EPILOG = "`tfdml COMMAND --help` says more about a command."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    with exit_on_user_error():
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(_help())
            return 0
        if arguments[0] == "--version":
            print(f"tfdml {__version__}")
            return 0
        try:
            return _load(arguments[0]).main(arguments[1:]) or 0
        except KeyboardInterrupt:
            return 130  # As a shell counts: 128 + SIGINT.
    raise AssertionError("exit_on_user_error() never swallows")


def _load(name: str):
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ConfigError(
            f"unknown command {name!r}; the commands are {', '.join(COMMANDS)}.{hint}"
        )
    return importlib.import_module(f"tfdml.cli.{name.replace('-', '_')}")


def _help() -> str:
    width = max(map(len, [*COMMANDS, "--version"])) + 2
    rows = [f"  {name:<{width}}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: tfdml COMMAND ...",
            "",
            "Distributed training for Keras 3 on TensorFlow.",
            "",
            "commands:",
            *rows,
            "",
            "options:",
            f"  {'--version':<{width}}print the version",
            "",
            _EPILOG,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
