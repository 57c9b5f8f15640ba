"""Write a model so that Keras alone, and TensorFlow alone, can load it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tfdml.errors import ConfigError
from tfdml.export.directory import whole_directory
from tfdml.export.endpoint import Endpoint
from tfdml.export.plain import foreign_names

MODEL_FILE = "model.keras"


def export_model(
    model: keras.Model,
    directory: Path,
    *,
    endpoints: Mapping[str, Endpoint] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a SavedModel into `directory`, and beside it model.keras and `files`; all of it or nothing.

    TensorFlow Serving and `tf.saved_model.load` take the directory, `keras.saving.load_model` takes the file. Neither
    holds optimizer, loss or metrics.

    Args:
        model: built, of Keras's own layers. Weights that are spread over replicas or parameter servers are read.
        directory: new or empty.
        endpoints: name -> more signatures, beside `serve`, which is the model itself.
        files: name -> contents of more files.

    Raises:
        ConfigError: a layer or function that Keras alone does not have, or a directory that is not empty.
    """
    foreign = next(foreign_names(model), None)
    if foreign is not None:
        raise ConfigError(
            f"model {model.name!r} has a part, {foreign}, that a process without it cannot load. Export a model of "
            "Keras's own layers; tfdml.export.plain replaces those of tfdml."
        )
    with whole_directory(directory) as whole:
        # A copy outside of the strategy's scope: plain variables, and no optimizer.
        copy = _copy(model)
        copy.save(whole / MODEL_FILE)
        _write_saved_model(copy, whole, endpoints or {})
        for name, contents in (files or {}).items():
            (whole / name).write_bytes(contents)


def _copy(model: keras.Model) -> keras.Model:
    copy = model.__class__.from_config(model.get_config())
    if not copy.built:
        copy.build(model.input_shape)
    copy.set_weights(model.get_weights())
    return copy


def _write_saved_model(
    model: keras.Model, directory: Path, endpoints: Mapping[str, Endpoint]
) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.__call__, _signature_of(model), training=False)
    for name, endpoint in endpoints.items():
        archive.add_endpoint(name, partial(endpoint.function, model), list(endpoint.inputs))
    with _quiet():
        archive.write_out(directory, verbose=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow tells of every part that it writes."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _signature_of(model: keras.Model) -> list[Any]:
    """As the model's inputs are: a tensor, or a list or dict of them."""
    to_spec = lambda each: tf.TensorSpec(each.shape, each.dtype, name=each.name)
    # A Sequential has no `input` before it was called.
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return [tf.nest.map_structure(to_spec, inputs)]
