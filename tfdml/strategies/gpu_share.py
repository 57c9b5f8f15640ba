"""The GPUs of one of several tasks on a host, where the platform shows all of them to each.

CUDA_VISIBLE_DEVICES belongs to whoever set it, so TensorFlow is told instead, before it looks at its devices.
Without that each task would take every GPU of the host. Not run on several GPUs yet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfdml.cluster import locate
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError, ConfigError

VARIABLE = "TFDML_GPUS"  # Set by `tfdml launch`, whose tasks do not see the platform any longer.


def use_own_gpus(cluster: ClusterSpec) -> None:
    """Hide the GPUs that the platform means for the other tasks of this host.

    Raises:
        ConfigError: TensorFlow runs already.
    """
    devices = [] if cluster.is_local else tf.config.list_physical_devices("GPU")
    if len(devices) < 2:
        return
    positions = positions_of(_meant_for(cluster), len(devices), os.environ)
    if not positions or len(positions) == len(devices):
        return
    try:
        tf.config.set_visible_devices([devices[position] for position in positions], "GPU")
    except RuntimeError as error:
        raise ConfigError(
            f"this task has GPU {', '.join(map(str, positions))} of {len(devices)}, but TensorFlow uses all of "
            "them already: create the strategy before anything else of TensorFlow."
        ) from error


def positions_of(meant: Sequence[str], num_devices: int, environ: Mapping[str, str]) -> list[int]:
    """Which of TensorFlow's devices `meant` names; [] where it names none of them, or not all.

    TensorFlow numbers its GPUs in the order of CUDA_VISIBLE_DEVICES, and without it in the driver's.
    """
    text = environ.get("CUDA_VISIBLE_DEVICES")
    shown = [str(i) for i in range(num_devices)] if text is None else text.split(",")
    names = [name.strip() for name in shown][:num_devices]
    if any(name not in names for name in meant):
        return []
    return [names.index(name) for name in meant]


def _meant_for(cluster: ClusterSpec) -> Sequence[str]:
    if VARIABLE in os.environ:
        return [name for name in os.environ[VARIABLE].split(",") if name]
    try:
        place = locate()
    except ClusterError:
        return []  # `cluster` was not found here, so nothing here says anything about its GPUs.
    return place.gpus or () if place.cluster == cluster else ()
