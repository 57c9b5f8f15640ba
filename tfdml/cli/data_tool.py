"""What the data tools share as command lines: their flags, help, errors and exit status.

A data tool is a script `data_tools/NAME.py` with absl flags, that ends in

    if __name__ == "__main__":
        run_tool(main, __doc__)

`tfdml NAME` runs the same script from `tfdml/bundled`, which the wheel carries.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags

from tfdml.cli.recipes import BUNDLED
from tfdml.config.flags import parse_words
from tfdml.errors import ConfigError, exit_on_user_error

_ABSL_REPEAT = re.compile(r";\s+repeat this option to specify a list of values")
_INTERRUPTED = 130  # As a shell counts: 128 + SIGINT.


def run_tool(main: Callable[[list[str]], int | None], doc: str | None) -> NoReturn:
    """Parse sys.argv, call `main` with the words that are no flags, and exit with its status.

    --help prints `doc` and the flags; a user's mistake is one line on standard error and status 2.
    """
    try:
        if {"--help", "-h", "--helpfull"} & set(sys.argv[1:]):
            print(help_text(doc or ""), flush=True)
            sys.exit(0)
        with exit_on_user_error():
            sys.exit(main(parse_words(sys.argv)[1:]) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def one_directory(words: Sequence[str], flag_value: str | None, flag: str = "input_dir") -> str:
    """The directory that a tool is about: its one word, or a flag.

    Raises:
        ConfigError: for none, or more than one.
    """
    given = [*words, *([flag_value] if flag_value else [])]
    if not given:
        raise ConfigError(f"--{flag} is missing: a directory of shards, or its URL. See --help.")
    if len(given) > 1:
        raise ConfigError(
            f"One directory is wanted, got {', '.join(map(repr, given))}. See --help."
        )
    return given[0]


def help_text(doc: str) -> str:
    """The tool's docstring, and its flags with their defaults, in the order of their definition."""
    width = min(100, shutil.get_terminal_size().columns) - 8
    lines = [doc.strip(), "", "Flags (dashes may stand for underscores):"]
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        values = getattr(flag.parser, "enum_values", None)
        value = "|".join(values) if values else flag.flag_type().split()[-1].upper()
        about = (flag.help or "").removeprefix(f"<{'|'.join(values or ())}>: ")
        about = _ABSL_REPEAT.sub(" Repeatable.", about)
        default = "" if flag.default in (None, False, [], "") else f" (default: {flag.default})"
        lines.append(f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}={value}")
        lines += textwrap.wrap(
            about + default,
            width,
            initial_indent=" " * 8,
            subsequent_indent=" " * 8,
            break_long_words=False,
        )
    return "\n".join([*lines, "  --help", "        This text."])


def run_bundled(name: str, argv: Sequence[str]) -> int:
    """Run the data tool `name` as `python -m data_tools.NAME` does; returns its exit status."""
    script = BUNDLED / "data_tools" / f"{name}.py"
    if not script.exists():
        raise ConfigError(
            f"{script} is missing, so this tfdml was not installed whole. Install it again."
        )
    before = sys.argv
    sys.argv = [str(script), *argv]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    finally:
        sys.argv = before
    return 0
