"""One warm parent per process: the standard library's forkserver with TensorFlow and Keras
imported.

Importing them costs seconds of CPU; a process forked from a parent that has done it, and has not
yet initialised TensorFlow's runtime, costs milliseconds. The server's environment is what the
variables were when it started, so the ones that act at import are set here and cannot be changed
for a single worker.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext

from tfdml.errors import ConfigError

PRELOAD = ("tensorflow", "keras", "tfdml.testing.task")

# The harness is for CPU processes: a CUDA context does not survive a fork.
IMPORT_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "1",
}

# Read by TensorFlow, Keras or the OpenMP runtime while they are imported.
FROZEN_VARIABLES = frozenset(
    {
        *IMPORT_ENVIRONMENT,
        "KERAS_HOME",
        "OMP_NUM_THREADS",
        "TF_CPP_MAX_VLOG_LEVEL",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_USE_LEGACY_KERAS",
        "XLA_FLAGS",
    }
)


def warm_context() -> ForkServerContext:
    """The multiprocessing context whose processes are forked from the warm parent; starts it if
    needed.

    Returns at once: the first process started waits for the imports. An ImportError of the preload
    is swallowed by the standard library and comes back as the first worker's own, because the
    worker imports the same names.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    with _environment(IMPORT_ENVIRONMENT):
        multiprocessing.forkserver.ensure_running()
    return context


def worker_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment of this moment and `extra`, without what acts only at import."""
    refused = sorted(FROZEN_VARIABLES & extra.keys())
    if refused:
        raise ConfigError(
            f"`env` has {', '.join(refused)}, which act when TensorFlow is imported, and workers "
            "are forked from a process that has imported it. Set them for the whole test run."
        )
    inherited = {k: v for k, v in os.environ.items() if k not in FROZEN_VARIABLES}
    return {**inherited, **extra}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
