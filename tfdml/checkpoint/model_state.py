"""The variables of a model and its optimizer as sections of a snapshot, and whether they fit another model.

Variables are known by their order: Keras numbers the names of layers through the life of a process, so that the
same model has other names in a process that has built another one before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfdml.checkpoint.contents import OPTIMIZER, STATE, WEIGHTS
from tfdml.errors import DataError


@dataclass(frozen=True)
class Saved:
    """One saved array: its name (number:path), dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def path(self) -> str:
        return self.name.partition(":")[2]

    def __str__(self) -> str:
        return f"'{self.path}' {self.dtype}{list(self.shape)}"


def model_variables(model: Any) -> dict[str, list[Any]]:
    """The variables of `model` by section: weights; other state, such as seeds; the optimizer's.

    Metrics are not among them: the Trainer keeps what their sums are.
    """
    weights = list(model.weights)
    known = {id(variable) for variable in (*weights, *model.metrics_variables)}
    state = [variable for variable in model.variables if id(variable) not in known]
    optimizer = [] if model.optimizer is None else list(model.optimizer.variables)
    return {WEIGHTS: weights, STATE: state, OPTIMIZER: optimizer}


def model_sections(model: Any) -> dict[str, dict[str, Any]]:
    """The same for `Contents.arrays`, each variable under its number and path."""
    return {section: named(found) for section, found in model_variables(model).items()}


def named(variables: Sequence[Any]) -> dict[str, Any]:
    """Variables by number and path, which is unique where paths are not."""
    return {f"{number}:{each.path}": each for number, each in enumerate(variables)}


def check_fits(variables: Sequence[Any], saved: Sequence[Saved], what: str) -> None:
    """Raise a DataError that names the first of `variables` that is not like what was saved as `what`."""
    for number in range(max(len(variables), len(saved))):
        here = there = None
        if number < len(variables):
            own = variables[number]
            here = Saved(f"{number}:{own.path}", _dtype_of(own), tuple(own.shape))
        if number < len(saved):
            there = saved[number]
        if here is None or there is None or not _alike(here, there):
            raise DataError(
                f"{what} is of another model: variable {number} is {here or 'not there'} here and "
                f"{there or 'not there'} there. Use the model that was trained, or another directory."
            )


def _alike(here: Saved, there: Saved) -> bool:
    same_kind = (here.dtype, here.shape) == (there.dtype, there.shape)
    return same_kind and _role(here.path) == _role(there.path)


def _role(path: str) -> str:
    """kernel, dense_bias_momentum, ...: the last component without the numbers that Keras may put into it."""
    return re.sub(r"_\d+(?=_|$)", "", path.rpartition("/")[2])


def _dtype_of(variable: Any) -> str:
    dtype = variable.dtype
    return dtype if isinstance(dtype, str) else str(getattr(dtype, "name", dtype))
