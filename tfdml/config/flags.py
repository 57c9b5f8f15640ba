"""The absl flags that all recipes share, in `--dash-form` or `--underscore_form`; their help."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from absl import flags
from pydantic import BaseModel

from tfdml.config.describe import allowed, settings
from tfdml.errors import ConfigError

Mode = Literal["train", "evaluate", "train_and_evaluate"]

_NAMES = ("config", "set", "deterministic", "print_config", "model_dir", "mode")

_FLAG_HELP = """\
Flags:
  --config=FILE         YAML settings; repeatable, a later file overrides an earlier one.
  --set section.key=VALUE
                        One setting, its value in YAML; repeatable, overrides every file.
  --deterministic       The same bits in every run; short for --set train.deterministic=true.
  --print_config        Print the resolved settings as YAML, and exit.
  --model_dir=DIR       Where the model, logs and resolved settings go (default: {model_dir}).
  --mode=MODE           train, evaluate (what is in --model_dir) or train_and_evaluate (default).
  --help                This text.
Flags may be written with dashes too: --model-dir=DIR.
"""


@dataclass(frozen=True)
class Arguments:
    """What the command line says beside the configuration."""

    config_files: tuple[str, ...]
    overrides: tuple[str, ...]
    print_config: bool
    model_dir: Path
    mode: Mode

    @property
    def trains(self) -> bool:
        return self.mode != "evaluate"

    @property
    def evaluates(self) -> bool:
        return self.mode != "train"


def define() -> None:
    """Define the shared flags, once per process: a recipe may be run several times in one."""
    if "print_config" in flags.FLAGS:
        return
    flags.DEFINE_multi_string("config", [], "YAML settings file; repeatable.")
    flags.DEFINE_multi_string("set", [], "section.key=value; repeatable.")
    flags.DEFINE_bool("deterministic", False, "Short for --set train.deterministic=true.")
    flags.DEFINE_bool("print_config", False, "Print the resolved settings, and exit.")
    flags.DEFINE_string("model_dir", None, "Where the model, logs and resolved settings go.")
    flags.DEFINE_enum(
        "mode", "train_and_evaluate", ["train", "evaluate", "train_and_evaluate"], "What to do."
    )


def with_underscores(argv: Sequence[str]) -> list[str]:
    """`--model-dir=a-b` becomes `--model_dir=a-b`; everything after a bare `--` stays as it is."""
    result = list(argv)
    for index, word in enumerate(result):
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            result[index] = "--" + name[2:].replace("-", "_") + equals + value
    return result


def parse_words(argv: Sequence[str]) -> list[str]:
    """absl's parser with our errors: sets the flags, returns the program and all other words.

    Raises:
        ConfigError: for an unknown flag, or a value that a flag does not take.
    """
    flags.FLAGS.unparse_flags()
    try:
        return flags.FLAGS(with_underscores(argv))
    except flags.Error as error:
        message = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"{message}. See --help.") from None


def parse(argv: Sequence[str]) -> Arguments:
    """Parse a command line whose first word is the program.

    Raises:
        ConfigError: for an unknown flag, a value a flag does not take, or a word that is no flag.
    """
    for name in _NAMES:  # absl keeps what an earlier parse in this process left
        flags.FLAGS[name].unparse()
    rest = parse_words(argv)[1:]
    if rest:
        raise ConfigError(f"{rest[0]!r} is no flag. Settings are given as --set section.key=value.")
    values = flags.FLAGS
    short = ("train.deterministic=true",) if values.deterministic else ()
    return Arguments(
        config_files=tuple(values.config),
        overrides=tuple(values["set"].value or ()) + short,
        print_config=values.print_config,
        model_dir=Path(values.model_dir or default_model_dir(argv[0])).expanduser(),
        mode=values.mode,
    )


def default_model_dir(program: str) -> str:
    """`runs/image_classifier` for train_image_classifier.py."""
    return f"runs/{Path(program).stem.removeprefix('train_')}"


def help_text(schema: type[BaseModel], program: str) -> str:
    """What the recipe does (its docstring), the flags, and every setting with its default."""
    lines = [inspect.cleandoc(sys.modules["__main__"].__doc__ or program), ""]
    lines += [_FLAG_HELP.format(model_dir=default_model_dir(program))]
    lines += ["Settings (for --config and --set), with their defaults:"]
    for path, field in settings(schema):
        default = "null" if field.default is None else field.default
        lines += [f"  {path}={default}", f"        {field.description or ''} ({allowed(field)})"]
    return "\n".join(lines) + "\n"
