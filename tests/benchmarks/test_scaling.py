from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scaling

from tfdml.errors import ConfigError
from tfdml.testing import run_workers

BENCHMARKS = Path(scaling.__file__).parent
STEPS = 4


def train_both_sides():
    """Weights of both sides after the same steps, and those they began with."""
    import keras
    import tensorflow as tf
    from peers.multi_worker_loop import MultiWorkerLoop
    from scaling_worker import build_model, make_data

    import tfdml

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    data = make_data(32)
    with strategy.scope():
        models = [build_model(keras.optimizers.SGD(0.1), STEPS) for _ in range(2)]
        models[1].set_weights(models[0].get_weights())
    begin = models[0].get_weights()
    MultiWorkerLoop(strategy, models[0], data, STEPS).seconds(STEPS)
    tfdml.Trainer(models[1], strategy).fit(data, steps_per_epoch=STEPS, verbose=False)
    return begin, models[0].get_weights(), models[1].get_weights()


@pytest.mark.slow
def test_both_sides_train_the_same():
    for begin, hand_written, trainer in run_workers(train_both_sides, 2):
        for first, one, other in zip(begin, hand_written, trainer, strict=True):
            moved = np.linalg.norm(one - first)
            assert moved > 0
            assert np.linalg.norm(one - other) < 1e-4 * moved


def test_ratios_are_taken_within_a_run_and_a_missing_peer_has_no_figure():
    def run(factor):
        one = {"Trainer": [100 * factor], "hand-written": [50 * factor]}
        two = {"Trainer": [150 * factor], "hand-written": [100 * factor]}
        return {1: one, 2: two | {"Trainer, int8": [90 * factor]}}

    rows = scaling.rows_of([run(1), run(10), run(1)])
    values = {(row.name, row.unit, row.baseline): row.value for row in rows}
    assert values["2 workers: Trainer", "ratio", "hand-written loop"] == 1.5
    assert values["2 workers over 1: Trainer", "ratio", "1 worker"] == 1.5
    assert values["2 workers: Trainer", "samples/s", ""] == 150
    assert values["2 workers: Trainer, int8", "ratio", "hand-written loop"] == 0.9
    assert {value for (name, *_), value in values.items() if "DDP" in name} == {None}
    assert values["2 workers: Trainer", "ratio", "PyTorch DDP, gloo"] is None


def test_the_interpreter_asked_for_must_have_torch(monkeypatch, tmp_path):
    without_torch = tmp_path / "python"
    without_torch.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # no site-packages
    without_torch.chmod(0o755)
    for python in (without_torch, tmp_path / "absent"):
        monkeypatch.setenv(scaling.TORCH_PYTHON, str(python))
        with pytest.raises(ConfigError, match=f"must name a Python interpreter.*{python}"):
            scaling.find_torch()
    monkeypatch.delenv(scaling.TORCH_PYTHON)
    monkeypatch.setattr(sys, "executable", str(without_torch))
    assert scaling.find_torch() is None


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core for each of two workers")
def test_a_quick_run_measures_every_side(tmp_path):
    path = tmp_path / "rows.json"
    command = [sys.executable, "scaling.py", "--quick", f"--json={path}"]
    subprocess.run(command, cwd=BENCHMARKS, check=True, timeout=280)
    rows = json.loads(path.read_text())
    torch_found = scaling.find_torch() is not None
    for row in rows:
        compared_with_ddp = "DDP" in row["name"] + row["baseline"]
        if compared_with_ddp and not torch_found:
            assert row["value"] is None
        else:
            assert row["value"] > 0
    floors = [row for row in rows if row["floor"] is not None]
    assert [row["baseline"] for row in floors] == [*["hand-written loop"] * 2, "PyTorch DDP, gloo"]
