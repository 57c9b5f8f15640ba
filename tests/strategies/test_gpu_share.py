"""Which GPUs are this task's own, where every task of a host sees all of them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfdml.cluster import ClusterSpec
from tfdml.strategies import gpu_share

OWN = ClusterSpec({"worker": ("a:1", "a:2")}, "worker", 1)


@pytest.mark.parametrize(
    ("meant", "visible", "expected"),
    [
        (["2", "3"], "0,1,2,3", [2, 3]),
        (["2", "3"], None, [2, 3]),
        (["GPU-b"], "GPU-a, GPU-b", [1]),
        (["5"], "4,5,6,7", [1]),
        (["7"], "0,1", []),
        ([], "0,1", []),
    ],
)
def test_positions_follow_the_visible_devices(
    meant: list[str], visible: str | None, expected: list[int]
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    shown = 4 if visible is None else visible.count(",") + 1
    assert gpu_share.positions_of(meant, shown, environ) == expected


@pytest.fixture
def made_visible(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What TensorFlow, which sees four GPUs, is told to use."""
    devices = [f"gpu{i}" for i in range(4)]
    told: list[str] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda chosen, kind: told.extend(chosen))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    return told


def test_the_launcher_hands_the_share_on(
    made_visible: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDML_GPUS", "2,3")
    gpu_share.use_own_gpus(OWN)
    assert made_visible == ["gpu2", "gpu3"]


def test_a_task_that_srun_started_finds_its_own_share(
    made_visible: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "a",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_GPUS_ON_NODE": "4",
        "TFDML_CLUSTER_PORT": "1",
        "TFDML_CLUSTER": "slurm",
    }
    for name, text in step.items():
        monkeypatch.setenv(name, text)
    gpu_share.use_own_gpus(OWN)
    assert made_visible == ["gpu2", "gpu3"]


def test_nothing_is_hidden_where_nobody_says_so(
    made_visible: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_share.use_own_gpus(OWN)
    monkeypatch.setenv("TFDML_GPUS", "1")
    gpu_share.use_own_gpus(ClusterSpec.local())
    assert made_visible == []
