"""The absl flags that all recipes share, in `--dash-form` or `--underscore_form`; their help."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from absl import flags
from pydantic import BaseModel

from tfdml.config.describe import allowed, settings
from tfdml.errors import ConfigError

Mode = Literal["train", "evaluate", "train_and_evaluate", "predict", "export"]

_NAMES = (
    "config",
    "set",
    "seed",
    "deterministic",
    "print_config",
    "model_dir",
    "mode",
    "predict_input",
    "predict_output",
    "export_dir",
    "metrics_port",
    "profile_steps",
    "profile_tasks",
)

_FLAG_HELP = """\
Flags:
  --config=FILE         YAML settings; repeatable, a later file overrides an earlier one.
  --set section.key=VALUE
                        One setting, its value in YAML; repeatable, overrides every file.
  --seed=N              Of all that is random; short for --set train.seed=N.
  --deterministic       The same bits in every run; short for --set train.deterministic=true.
  --print_config        Print the resolved settings as YAML, and exit.
  --model_dir=DIR       Where the model, logs, run.json and model_card.md go (default: {model_dir}).
  --mode=MODE           train, or what is in --model_dir: evaluate, predict, export; or train_and_evaluate
                        (default).
  --predict_input=DATA  What to predict (default: the test data).
  --predict_output=FILE Where predictions go, a .csv, .jsonl or .parquet file (default: MODEL_DIR/predictions.csv).
  --export_dir=DIR      Where an exported model goes, a new directory (default: the next MODEL_DIR/versions/N).
  --metrics_port=PORT   Answer Prometheus; short for --set monitoring.metrics_port=PORT.
  --profile_steps=A:B   Trace steps A to B by TensorFlow's profiler; short for --set monitoring.profile_steps=[A, B].
  --profile_tasks=N,N   On these tasks (default: 0, the chief); short for --set monitoring.profile_tasks=[N, N].
  --help                This text.
Flags may be written with dashes too: --model-dir=DIR.

Once trained, the same command with another mode goes on with what is in --model_dir:
  ... --mode=evaluate                           metrics of the test data, also into model_card.md
  ... --mode=predict --predict_output=out.csv   a row for each example, in order
  ... --mode=export                             a .keras file and a SavedModel that need no tfdml
`tfdml runs list|show|compare|promote|rollback` says what there is, and which version is served.
"""


# What predictions can be written as, by the name of the file.
TABLE_FORMATS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Arguments:
    """What the command line says beside the configuration."""

    config_files: tuple[str, ...]
    overrides: tuple[str, ...]
    print_config: bool
    model_dir: Path
    mode: Mode
    predict_input: str | None = None
    predict_output: Path | None = None
    export_dir: Path | None = None

    @property
    def trains(self) -> bool:
        return self.mode in ("train", "train_and_evaluate")

    @property
    def evaluates(self) -> bool:
        return self.mode in ("evaluate", "train_and_evaluate")

    @property
    def predicts(self) -> bool:
        return self.mode == "predict"

    @property
    def exports(self) -> bool:
        return self.mode == "export"


def define() -> None:
    """Define the shared flags, once per process: a recipe may be run several times in one."""
    if "print_config" in flags.FLAGS:
        return
    flags.DEFINE_multi_string("config", [], "YAML settings file; repeatable.")
    flags.DEFINE_multi_string("set", [], "section.key=value; repeatable.")
    flags.DEFINE_integer("seed", None, "Short for --set train.seed=N.")
    flags.DEFINE_bool("deterministic", False, "Short for --set train.deterministic=true.")
    flags.DEFINE_bool("print_config", False, "Print the resolved settings, and exit.")
    flags.DEFINE_string("model_dir", None, "Where the model, logs and resolved settings go.")
    flags.DEFINE_enum("mode", "train_and_evaluate", list(get_args(Mode)), "What to do.")
    flags.DEFINE_string("predict_input", None, "What to predict; default: the test data.")
    flags.DEFINE_string("predict_output", None, "Where predictions go: .csv, .jsonl, .parquet.")
    flags.DEFINE_string("export_dir", None, "Where an exported model goes: a new directory.")
    flags.DEFINE_integer("metrics_port", None, "Short for --set monitoring.metrics_port=PORT.")
    flags.DEFINE_string("profile_steps", None, "A:B; sets monitoring.profile_steps=[A, B].")
    flags.DEFINE_string("profile_tasks", None, "N,N; sets monitoring.profile_tasks=[N, N].")


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
    short = ["train.deterministic=true"] if values.deterministic else []
    short += [] if values.seed is None else [f"train.seed={values.seed}"]
    if values.metrics_port is not None:
        short.append(f"monitoring.metrics_port={values.metrics_port}")
    for name, form, example in (
        ("profile_steps", r"\d+:\d+", "100:110"),
        ("profile_tasks", r"\d+(,\d+)*", "0,1"),
    ):
        text = values[name].value
        if text is not None:
            if not re.fullmatch(form, text):
                raise ConfigError(f"--{name} must be numbers as in {example}, got {text!r}.")
            short.append(f"monitoring.{name}=[{text.replace(':', ',')}]")
    _check_mode(values)
    return Arguments(
        config_files=tuple(values.config),
        overrides=(*(values["set"].value or ()), *short),
        print_config=values.print_config,
        model_dir=Path(values.model_dir or default_model_dir(argv[0])).expanduser(),
        mode=values.mode,
        predict_input=values.predict_input,
        predict_output=_path(values.predict_output),
        export_dir=_path(values.export_dir),
    )


def _check_mode(values: flags.FlagValues) -> None:
    """Raises ConfigError for a flag that --mode would not look at."""
    for name, mode in (
        ("predict_input", "predict"),
        ("predict_output", "predict"),
        ("export_dir", "export"),
    ):
        if values[name].value is not None and values.mode != mode:
            raise ConfigError(
                f"--{name} belongs to --mode={mode}, got --mode={values.mode}. "
                f"Add --mode={mode}, or leave --{name} out."
            )
    output = values.predict_output
    if output is not None and Path(output).suffix not in TABLE_FORMATS:
        raise ConfigError(
            f"--predict_output must end in {', '.join(TABLE_FORMATS)}, got {output!r}."
        )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


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
