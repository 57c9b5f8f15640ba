"""From a recipe's last line to its `main`: flags, configuration, and errors as one sentence."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app

from tfdml import run_identity
from tfdml.config import flags, yaml_text
from tfdml.config.flags import Arguments
from tfdml.config.load import ConfigT, load
from tfdml.errors import exit_on_user_error

_ENDS: list[Callable[[BaseException | None], None]] = []


def at_end(function: Callable[[BaseException | None], None]) -> None:
    """Let `function` hear once how this process's `main` ended: by which error, or None where it came to its end."""
    _ENDS.append(function)


def _tell(error: BaseException | None) -> None:
    while _ENDS:
        _ENDS.pop()(error)


def run(main: Callable[[ConfigT, Arguments], Any], schema: type[ConfigT]) -> None:
    """Call `main(config, arguments)` with what the command line asks for, and exit.

    A `TfdmlError` becomes one line on standard error and exit status 2; other exceptions are bugs
    and keep their traceback. `--help` and `--print_config` answer without importing TensorFlow.
    """
    flags.define()
    program, *words = sys.argv
    if {"--help", "-h", "-help"} & set(words):
        print(flags.help_text(schema, program), end="")
        sys.exit(0)

    # TensorFlow tells of every step of its start, of much of it twice. Warnings and errors remain;
    # TF_CPP_MIN_LOG_LEVEL=0 in the environment brings back what its C++ side has to say.
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def start(arguments: Arguments) -> None:
        config = load(schema, arguments.config_files, arguments.overrides)
        if arguments.print_config:
            print(yaml_text.dump(config.model_dump()), end="")
            return
        run_identity.set_config(config.model_dump(mode="json"))
        _ENDS.clear()
        try:
            main(config, arguments)
        except BaseException as error:
            _tell(error)
            raise
        _tell(None)

    with exit_on_user_error():
        app.run(start, flags_parser=flags.parse)
