"""Weights of a .keras file for a model that is built; of another model it says where they differ."""

from __future__ import annotations

import io
import warnings
import zipfile
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras

from tfdml.errors import ConfigError

_WEIGHTS = "model.weights.h5"


def load_weights(model: keras.Model, file: Path) -> None:
    """`model.load_weights(file)` of a whole model, which must be this one.

    Raises:
        ConfigError: the file is damaged or of another model; names the first layer that differs, in the model's
            order, with its shapes in the file and in the model.
    """
    try:
        saved = _variables_in(file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{file} is no whole .keras file ({error}). Train it again.") from None
    try:
        if saved == len(model.weights):  # Keras takes no notice of layers that only the file has
            with warnings.catch_warnings():
                # The optimizer of a model that is not trained has no slots for what the file has.
                warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
                model.load_weights(file)
            return
    except ValueError:
        pass  # told better below
    raise ConfigError(f"{file} is of another model: {_difference(file, model)}.")


def _variables_in(file: Path) -> int:
    count = 0

    def visit(name: str, item: Any) -> None:
        nonlocal count
        state = name.startswith("optimizer/") or "/seed_generator/" in name
        if isinstance(item, h5py.Dataset) and not state:
            count += 1

    with zipfile.ZipFile(file) as archive:
        h5py.File(io.BytesIO(archive.read(_WEIGHTS))).visititems(visit)
    return count


class _Layer(NamedTuple):
    name: str
    kind: str
    shapes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        shapes = ", ".join(str(list(shape)) for shape in self.shapes)
        return f"{self.name!r} ({self.kind}, {f'weights {shapes}' if shapes else 'no weights'})"


def _difference(file: Path, model: keras.Model) -> str:
    """The first layer that the two models do not have in common."""
    try:
        other = keras.saving.load_model(file, compile=False)
    except Exception as error:  # whatever a layer raises that is made of settings of another time
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"it cannot be loaded as it is ({first[:200]})"
    # First those with weights: it is their shapes that tell most.
    for least in (1, 0):
        found = [
            [layer for layer in _layers(each) if len(layer.shapes) >= least]
            for each in (other, model)
        ]
        for saved, mine in zip_longest(*found):
            if saved is None or mine is None:
                where, only = ("model", mine) if saved is None else ("file", saved)
                return f"only the {where} has layer {only}"
            if (saved.kind, saved.shapes) != (mine.kind, mine.shapes):
                return (
                    f"the first layer that differs is {saved} in the file and {mine} in the model"
                )
    return "its layers are the same, but their connections are not"


def _layers(layer: Any) -> list[_Layer]:
    """The layers of a model in their order, models among them opened."""
    if isinstance(layer, keras.Model):
        return [found for each in layer.layers for found in _layers(each)]
    shapes = tuple(tuple(weight.shape) for weight in layer.weights)
    return [_Layer(layer.name, type(layer).__name__, shapes)]
