"""Schema defaults < `--config` files in order < `--set key=value`, into one validated object.

Each value remembers where it came from, so that an error can name the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tfdml.config import yaml_text
from tfdml.config.describe import allowed, choices, section_of, settings
from tfdml.config.schema import Config
from tfdml.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=Config)
KeyPath = tuple[str, ...]


def load(
    schema: type[ConfigT], files: Iterable[str | Path] = (), overrides: Iterable[str] = ()
) -> ConfigT:
    """Resolve a configuration.

    Args:
        schema: the recipe's configuration class.
        files: YAML files; a later one overrides an earlier one, key by key.
        overrides: `section.key=value`, the value in YAML; they override every file.

    Raises:
        ConfigError: naming the file (or `--set`), the dotted path, what was received and
            what is allowed.
    """
    values: dict[str, Any] = {}
    sources: dict[KeyPath, str] = {}
    for file in files:
        _merge(schema, _read(Path(file)), str(file), (), values, sources)
    for override in overrides:
        _merge(schema, _nested(override), f"--set {override}", (), values, sources)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_problem(schema, error, values, sources)) from None


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = sorted(p.name for p in file.parent.glob("*.y*ml"))
        known = f" {file.parent} has {', '.join(there)}." if there else ""
        raise ConfigError(f"--config={file}: no such file.{known}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config={file}: cannot be read: {error}.") from None
    return yaml_text.parse(text, str(file))


def _nested(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(
            f"--set takes section.key=value, got {override!r}; for example train.epochs=5."
        )
    value = yaml_text.parse(text, f"--set {override}")
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(
    schema: type[BaseModel],
    new: Any,
    source: str,
    path: KeyPath,
    values: dict[str, Any],
    sources: dict[KeyPath, str],
) -> None:
    """Lay `new` over `values`, key by key, and note the source of every leaf."""
    if new is None:  # an empty file, or a section whose lines are all commented out
        return
    if not isinstance(new, Mapping):
        what = f"`{'.'.join(path)}`" if path else "a configuration"
        raise ConfigError(f"{source}: {what} must be a section of `key: value` lines, got {new!r}.")
    for key, value in new.items():
        here = (*path, str(key))
        field = schema.model_fields.get(key) if isinstance(key, str) else None
        if field is None:
            raise ConfigError(_unknown_key(schema, here, path, source))
        section = section_of(field)
        if section is None:
            values[key] = value
            sources[here] = source
        else:
            _merge(section, value, source, here, values.setdefault(key, {}), sources)


def _unknown_key(schema: type[BaseModel], here: KeyPath, path: KeyPath, source: str) -> str:
    siblings = list(schema.model_fields)
    close = difflib.get_close_matches(here[-1], siblings, n=1)
    if not close:  # the right name in the wrong section, e.g. `epochs` instead of `train.epochs`
        below = [name for name, _ in settings(schema)]
        close = [name for name in below if name.rpartition(".")[2] == here[-1]][:1]
    hint = f"did you mean `{'.'.join((*path, *close))}`? " if close else ""
    where = f"`{'.'.join(path)}`" if path else "The top level"
    known = f"{where} has {', '.join(siblings)}."
    return f"{source}: there is no setting `{'.'.join(here)}`; {hint}{known}"


def _first_problem(
    schema: type[Config],
    error: ValidationError,
    values: dict[str, Any],
    sources: dict[KeyPath, str],
) -> str:
    problem = error.errors()[0]
    path, field = _locate(schema, problem["loc"])
    dotted = ".".join(path)
    source = next((sources[p] for p in reversed(sources) if p[: len(path)] == path), "defaults")
    if field is None or section_of(field) is not None:  # a check over several keys of one section
        reason = problem.get("ctx", {}).get("error", problem["msg"])
        return f"{source}: {dotted + ': ' if dotted else ''}{reason}"
    received: Any = values
    for key in path:
        received = received[key]
    close = difflib.get_close_matches(str(received), choices(field), n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"{source}: `{dotted}` must be {allowed(field)}, got {received!r}.{hint}"


def _locate(schema: type[Config], loc: tuple[int | str, ...]) -> tuple[KeyPath, FieldInfo | None]:
    """The setting an error is about; pydantic appends the branch of a union to its location."""
    path: list[str] = []
    field = None
    section: Any = schema
    for part in loc:
        if section is None:
            break
        field = section.model_fields[part]
        path.append(str(part))
        section = section_of(field)
    return tuple(path), field
