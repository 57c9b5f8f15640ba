"""What TensorFlow says of itself. Runs in a child, and says each part as soon as it has it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from tfdml.errors import NativeOpsError

Say = Callable[..., None]


def main(order: Mapping[str, Any], say: Say) -> None:
    begin = time.monotonic()
    say(doing="importing TensorFlow")
    import tensorflow as tf

    say(tensorflow=tf.__version__, import_seconds=time.monotonic() - begin)
    say(doing="importing Keras")
    import keras

    say(keras=keras.__version__, keras_backend=keras.config.backend())
    say(doing="asking TensorFlow for its devices")
    say(build=dict(tf.sysconfig.get_build_info()))
    say(gpus=[_details(tf, gpu) for gpu in tf.config.list_physical_devices("GPU")])
    say(doing="loading the native ops")
    say(native=_native())


def _details(tf: Any, gpu: Any) -> dict[str, Any]:
    details = tf.config.experimental.get_device_details(gpu)
    return {"name": details.get("device_name", gpu.name)}


def _native() -> dict[str, Any]:
    """The library of native ops that is there, and whether it loads. Builds nothing: that takes a minute."""
    from tfdml.native import build, loader, store

    try:
        sources = build.Sources.find()
        name = build.library_name(sources)
        carried = sources.prebuilt_dir / f"{name}.so"
        # The name in the cache goes on with the compiler's digest.
        libraries = sorted(store.cache_directory().glob(f"{name}-*.so"), key=os.path.getmtime)
    except NativeOpsError as error:
        return {"error": str(error)}
    failed = [path for path in store.cache_directory().glob(f"{name}-*.failed")]
    for library in [carried, *reversed(libraries)]:
        if not library.exists():
            continue
        found = {"library": str(library), "intact": store.is_intact(library)}
        if found["intact"]:
            found["digest"] = store.digest_of(library)
            try:
                loader.load(library)
            except NativeOpsError as error:
                found["error"] = str(error)
        return found
    for record in failed:
        failure = store.recall_failure(record.with_suffix(".so"))
        if failure is not None:
            return {"failed": str(failure)}
    return {}
