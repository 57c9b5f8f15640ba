"""Named columns of a table: which are used, what the user says of them, and what a sample shows of the rest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, get_args

import numpy as np

from tfdml.data.format.features import DTYPES, Feature, Kind
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import ConfigError, DataError

MAX_CLASSES = 100_000
_KINDS = tuple(kind for kind in get_args(Kind) if kind != "tensor")
_SHAPE = re.compile(r"(\d+|\?)(x(\d+|\?))*")


class Declared(NamedTuple):
    """What `--features` or `--label` says of a column."""

    kind: str
    dtype: str = ""
    shape: tuple[int | None, ...] | None = None  # None: not said


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse columns that cannot be told apart."""
    for number, name in enumerate(names):
        if not name:
            raise DataError(
                f"{where}: column {number + 1} has no name. Name all columns with --columns."
            )
        if name in names[:number]:
            first = names.index(name) + 1
            raise DataError(
                f"{where}: two features have the name {name!r}, the columns {first} and {number + 1}. "
                "Rename one of them in the file."
            )


def chosen(names: Sequence[str], options: InputOptions, where: str) -> tuple[str, ...]:
    """The columns that become features, in their order, after --select and --drop.

    Raises:
        ConfigError: for an option that names a column which is not there, or when none is left.
    """
    asked = {
        "select": options.select,
        "drop": options.drop,
        "label": (options.label,) if options.label else (),
        "key": (options.key,) if options.key else (),
        "features": tuple(declared(options)),
    }
    for flag, values in asked.items():
        for name in values:
            if name not in names:
                raise ConfigError(unknown_column(flag, name, names, where))
    if options.select:
        return tuple(name for name in names if name in options.select)
    left = tuple(name for name in names if name not in options.drop)
    if not left:
        raise ConfigError(f"{where}: --drop leaves no feature out of {', '.join(names)}.")
    return left


def unknown_column(flag: str, name: str, names: Iterable[str], where: str) -> str:
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"--{flag}: {where} has no column {name!r}.{meant} It has {shown}."


def declared(options: InputOptions) -> dict[str, Declared]:
    """`--features` and `--label`, by column.

    Raises:
        ConfigError: for what cannot be understood, or a column that is named twice.
    """
    found: dict[str, Declared] = {}
    for text in options.features:
        name, _, rest = text.partition(":")
        kind, _, shape = rest.partition(":")
        if not name or not (kind in _KINDS or kind in DTYPES):
            raise ConfigError(
                f"--features={text}: it is NAME:KIND with {', '.join(_KINDS)}, or NAME:DTYPE[:SHAPE] "
                f"with {', '.join(DTYPES)}."
            )
        if name in found:
            raise ConfigError(f"--features has two features of the name {name!r}.")
        if kind in _KINDS:
            if shape:
                raise ConfigError(f"--features={text}: only a tensor has a shape here.")
            found[name] = Declared(kind)
        else:
            found[name] = Declared("tensor", kind, parse_shape(shape, f"--features={text}"))
    if options.label:
        if found.get(options.label, Declared("label")).kind != "label":
            raise ConfigError(
                f"--label={options.label}, but --features says that it is of another kind."
            )
        found[options.label] = Declared("label")
    return found


def parse_shape(text: str, where: str) -> tuple[int | None, ...] | None:
    """`28x28`, `?x3` (unknown), or "" for not said."""
    if not text:
        return None
    if not _SHAPE.fullmatch(text):
        raise ConfigError(f"{where}: a shape is like 28x28, or ?x3 where a size varies.")
    return tuple(None if size == "?" else int(size) for size in text.split("x"))


def common_shape(shapes: Iterable[tuple[int, ...]], name: str) -> tuple[int | None, ...]:
    """One shape for all: None where sizes differ.

    Raises:
        DataError: when even the numbers of dimensions differ.
    """
    found = set(shapes)
    ranks = sorted({len(shape) for shape in found})
    if len(ranks) > 1:
        raise DataError(
            f"The feature {name!r} has {ranks[0]} dimensions in one row and {ranks[-1]} in another. "
            f"Leave it out with --drop={name}."
        )
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*found, strict=True))


def label_feature(
    name: str, options: InputOptions, values: Iterable[str] | None, *, only_integers: bool
) -> Feature:
    """A label: with the names given, without names if all values are numbers, else with all that occur.

    Args:
        values: all values of the column, in case they are needed.
        only_integers: whether a sample of them is numbers.
    """
    given = options.read_class_names() if name == options.label or not options.label else ()
    if given:
        return Feature("label", class_names=given)
    if only_integers or values is None:
        return Feature("label")
    found: set[str] = set()
    for value in values:
        found.add(value)
        if len(found) > MAX_CLASSES:
            raise DataError(
                f"The label {name!r} has more than {MAX_CLASSES:,} different values, so it is hardly a "
                f"class. Read it as text with --features={name}:text."
            )
    return Feature("label", class_names=tuple(sorted(found)))


def is_integer(text: str) -> bool:
    """Whether a text is a number of int64; Python alone would take 1_000 too."""
    try:
        return "_" not in text and -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def numeric_dtype(values: np.ndarray) -> str:
    """The dtype that a column of Python numbers becomes: int64, or float32 with a fraction."""
    if values.dtype == bool:
        return "bool"
    if values.dtype.kind in "iu":
        return "int64"
    if values.dtype.kind == "f":
        return "float32"
    raise ValueError(f"holds {values.dtype.name} values")
