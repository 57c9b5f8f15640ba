"""Loads exported models in a process in which tfdml cannot be imported; a script.

    python without_tfdml.py DIRECTORY...

Each directory has a `cases.npz` beside the model: `x.NAME`, the inputs by name (or `x.` for one input), `y`, the
outputs in the training process, and for an endpoint `ENDPOINT.x.NAME`. Prints, as JSON, for each the largest
difference from `y` of the .keras file and of the SavedModel, and what endpoints answer.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


class _NoTfdml:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tfdml", "recommender_models", "image_models"):
            raise ImportError(f"{name} is not installed here")
        return None


sys.meta_path.insert(0, _NoTfdml())
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def check(directory: Path) -> dict:
    cases = dict(np.load(directory / "cases.npz"))
    y = cases.pop("y")
    inputs = {name[2:]: value for name, value in cases.items() if name.startswith("x.")}
    x = inputs[""] if set(inputs) == {""} else inputs
    model = keras.saving.load_model(directory / "model.keras")
    served = tf.saved_model.load(str(directory))
    result = {
        "keras": float(np.abs(np.asarray(model.predict_on_batch(x)) - y).max()),
        "saved_model": float(np.abs(served.serve(x).numpy() - y).max()),
        "signature": float(
            np.abs(_only(served.signatures["serve"](**_named(served, x))).numpy() - y).max()
        ),
        "rows": len(y),
        "endpoints": {},
    }
    for name in (name for name in served.signatures if name not in ("serve", "serving_default")):
        prefix = f"{name}.x."
        given = {
            key.removeprefix(prefix): tf.constant(
                value if value.dtype.kind != "S" else value.tolist()
            )
            for key, value in cases.items()
            if key.startswith(prefix)
        }
        if given:
            answers = served.signatures[name](**given)
            result["endpoints"][name] = {
                key: [each.decode() if isinstance(each, bytes) else each for each in value]
                for key, value in ((k, v.numpy().tolist()) for k, v in answers.items())
            }
    return result


def _named(served, x) -> dict:
    """The inputs by the names that the signature has for them."""
    names = list(served.signatures["serve"].structured_input_signature[1])
    if not isinstance(x, dict):
        return {names[0]: tf.constant(x)}
    return {name: tf.constant(x[name]) for name in names}


def _only(outputs: dict):
    (value,) = outputs.values()
    return value


if __name__ == "__main__":
    try:
        import tfdml  # noqa: F401
    except ImportError:
        pass
    else:
        raise SystemExit("tfdml can be imported")
    print(json.dumps({each: check(Path(each)) for each in sys.argv[1:]}))
