"""What compression says where the replicas are not on CPUs."""

from __future__ import annotations

import pytest

from tfdml.collectives import COMPRESSION_NAMES, DenseExchange, devices, resolve_exchange
from tfdml.errors import ConfigError
from tfdml.testing import run_in_process

COMPRESSED = [name for name in COMPRESSION_NAMES if name != "none"]


@pytest.fixture
def on(monkeypatch):
    """Puts the replicas of this process on two devices of a type."""

    def put(device_type: str) -> None:
        names = [f"/job:worker/replica:0/task:1/device:{device_type}:{i}" for i in range(2)]
        monkeypatch.setattr(devices, "_replica_devices", lambda: names)

    return put


@pytest.mark.parametrize("mode", ["auto", "require"])
@pytest.mark.parametrize("name", COMPRESSED)
def test_on_gpus_somebody_must_ask_for_the_reference(on, monkeypatch, name, mode):
    on("GPU")
    monkeypatch.setenv("TFDML_NATIVE", mode)
    with pytest.raises(ConfigError) as caught:
        resolve_exchange(name)
    assert str(caught.value) == (
        f"compression '{name}' has kernels for CPUs only, and the replicas are on GPUs. Set TFDML_NATIVE=off "
        "to use the reference, made of TensorFlow's own ops and slower, or use 'none'."
    )
    monkeypatch.setenv("TFDML_NATIVE", "off")
    resolve_exchange(name)


@pytest.mark.parametrize("mode", ["require", "off"])
@pytest.mark.parametrize("name", COMPRESSED)
def test_on_tpus_not_even_the_reference_runs(on, monkeypatch, name, mode):
    on("TPU")
    monkeypatch.setenv("TFDML_NATIVE", mode)
    with pytest.raises(ConfigError) as caught:
        resolve_exchange(name)
    assert str(caught.value) == (
        f"compression '{name}' cannot run on TPUs: XLA does not compile the exchange. Use 'none' there."
    )


@pytest.mark.parametrize("device_type", ["GPU", "TPU"])
def test_dense_runs_everywhere(on, device_type):
    on(device_type)
    for nothing in ("none", None):
        assert isinstance(resolve_exchange(nothing), DenseExchange)


def replica_devices():
    import tensorflow as tf

    from tfdml.strategies import create

    with create("mirrored", num_virtual_devices=2).scope():
        together = list(devices._replica_devices())
        resolve_exchange("int8")
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        alone = list(devices._replica_devices())
    return together, alone, list(devices._replica_devices())


def test_the_devices_are_those_of_the_strategy():
    """A name as TensorFlow writes it; one replica alone has nothing to exchange."""
    together, alone, nowhere = run_in_process(replica_devices)
    assert nowhere == alone == []
    assert together == [f"/job:localhost/replica:0/task:0/device:CPU:{i}" for i in range(2)]
