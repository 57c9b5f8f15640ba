"""On which devices gradients can be compressed: on CPUs, and on GPUs where somebody asked for the reference."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.native import loader


def check_devices(compression: str) -> None:
    """Refuse replicas on devices for which there are no kernels; call in the strategy's scope.

    One replica alone has nobody to exchange with, so it may be anywhere.

    Raises:
        ConfigError: the replicas are on GPUs, and TFDML_NATIVE does not say `off`; or on TPUs.
    """
    types = {tf.DeviceSpec.from_string(device).device_type for device in _replica_devices()}
    if "TPU" in types:
        raise ConfigError(
            f"compression '{compression}' cannot run on TPUs: XLA does not compile the exchange. "
            "Use 'none' there."
        )
    if "GPU" in types and loader.mode() != "off":
        raise ConfigError(
            f"compression '{compression}' has kernels for CPUs only, and the replicas are on GPUs. Set "
            "TFDML_NATIVE=off to use the reference, made of TensorFlow's own ops and slower, or use 'none'."
        )


def _replica_devices() -> Sequence[str]:
    """The devices of this task's replicas, where there are several replicas in all."""
    if not tf.distribute.has_strategy():
        return ()
    strategy = tf.distribute.get_strategy()
    return strategy.extended.worker_devices if strategy.num_replicas_in_sync > 1 else ()
