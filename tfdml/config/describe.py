"""Schemas in words: what a setting may be, and the table of settings that `--help` prints."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The schema of a field that is a section of its own; None for a plain setting."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def allowed(field: FieldInfo) -> str:
    """What a setting may be, e.g. "a whole number >= 1 or null"."""
    return _join(_alternatives(field.annotation, field.metadata))


def choices(field: FieldInfo) -> list[str]:
    """The names that a setting may have; empty where it is no choice between names."""
    return [name for part in _flatten(field.annotation) for name in _names(part)]


def settings(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every plain setting with its dotted path, in the schema's order."""
    for name, field in schema.model_fields.items():
        section = section_of(field)
        if section is None:
            yield prefix + name, field
        else:
            yield from settings(section, f"{prefix}{name}.")


def _alternatives(annotation: Any, metadata: list[Any]) -> list[str]:
    words = []
    for part in _flatten(annotation):
        if get_origin(part) is Annotated:
            inner, *extra = get_args(part)
            words += _alternatives(inner, [m for e in extra for m in getattr(e, "metadata", [e])])
        elif names := _names(part):
            words += names
        elif part is type(None):
            words.append("null")
        else:
            words.append(" ".join([_kind(part), _limits(metadata)]).strip())
    return words


def _flatten(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _names(annotation: Any) -> list[str]:
    return [str(a) for a in get_args(annotation)] if get_origin(annotation) is Literal else []


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is list:
        return f"a list (each {_kind(get_args(annotation)[0])})"
    return _KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _limits(metadata: list[Any]) -> str:
    limits = []
    for constraint in metadata:
        match constraint:
            case annotated_types.Ge(ge):
                limits.append(f">= {ge}")
            case annotated_types.Gt(gt):
                limits.append(f"> {gt}")
            case annotated_types.Le(le):
                limits.append(f"<= {le}")
            case annotated_types.Lt(lt):
                limits.append(f"< {lt}")
            case annotated_types.MinLen():
                limits.append("that is not empty")
    return " and ".join(limits)


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
