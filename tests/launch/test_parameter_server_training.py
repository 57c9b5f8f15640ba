"""Training on parameter servers under the launcher: kills in the middle, and what the result is then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.launch.launcher import Launcher, lines_of
from tfdml.testing import WorkerError, start_workers

pytestmark = pytest.mark.slow

JOB = ("--workers=2", "--ps=2", "--start_method=fork", "--restart_backoff_seconds=0.1")
STEPS, RATE, PENDING = 400, 0.25, 4

# The gradient is 0.5 whatever the weights are, exact in binary: the weights count the updates. At each step that the
# chief is told of, it kills whom it is told to, in the first start.
TRAIN = f"""
    import json, os, pathlib, signal, sys, time
    import keras, tensorflow as tf, tfdml
    import logging

    logging.basicConfig(level=logging.INFO)
    here, kills = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
    cluster = tfdml.cluster.resolve()
    name, start = f"{{cluster.task_type}}-{{cluster.task_index}}", int(os.environ["TFDML_RESTART"])
    (here / name).write_text(str(os.getpid()))
    if tfdml.cluster.serve(cluster):
        raise SystemExit

    class Sum(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(4,), initializer="zeros", name="w")

        def call(self, x):
            return x * self.w

    class Kills(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(0.005)
            if batch == 60:
                (here / "step-60").touch()
            for victim in kills.get(str(batch), []) if start == 0 else []:
                number = signal.SIGTERM if victim == "told to stop" else signal.SIGKILL
                os.kill(int((here / victim.replace("told to stop", name)).read_text()), number)
                if victim.startswith("ps"):
                    time.sleep(1000)  # It must not need to find out by itself.

    strategy = tfdml.strategies.create("parameter_server", cluster)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), Sum()])
        model.compile(keras.optimizers.SGD({RATE}), lambda y, p: tf.reduce_sum(p, axis=-1), metrics=["mae"])
    data = tf.data.Dataset.from_tensors((tf.fill([8, 4], 0.5), tf.zeros([8, 4]))).repeat({STEPS})
    callbacks = [Kills(), tfdml.callbacks.BackupAndRestore(str(here / "backup"), save_freq=50)]
    trainer = tfdml.Trainer(model, strategy, max_pending_steps={PENDING})
    trainer.fit(data, callbacks=callbacks, verbose=False)
    result = {{
        "iterations": int(model.optimizer.iterations.numpy()),
        "updates": (model.get_weights()[0] / -({RATE} * 0.5)).tolist(),
        "examples": [float(m.count.numpy()) for m in model.metrics if hasattr(m, "count")],
    }}
    print("result", json.dumps(result))
"""


def run(
    launcher: Launcher, kills: dict[int, list[str]], *flags: str, script: str = TRAIN
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    path = launcher.script(script)
    result = launcher.run(*JOB, *flags, path, str(launcher.directory), json.dumps(kills))
    lines = [line for line in lines_of(result.stdout, "chief 0") if line.startswith("result")]
    return result, json.loads(lines[-1].partition(" ")[2]) if lines else {}


def test_workers_are_lost_and_the_result_still_holds(launcher: Launcher) -> None:
    kills = {60: ["worker-1"], 200: ["worker-0", "worker-1"]}
    result, found = run(launcher, kills)
    assert result.returncode == 0, result.stderr + result.stdout
    goes_on = [line for line in result.stderr.splitlines() if "the job goes on" in line]
    assert len(goes_on) == 3 and "restart 1" not in result.stderr
    # Three times a step in flight may have been made twice; no step is left out.
    for applied in (found["iterations"], *found["updates"]):
        assert STEPS <= applied <= STEPS + 3 * PENDING
    assert set(found["examples"]) == {STEPS * 8.0}, "metrics count each step once"


@pytest.mark.parametrize("victim", ["ps-1", "chief-0", "told to stop"])
def test_the_job_goes_on_from_its_checkpoint(launcher: Launcher, victim: str) -> None:
    result, found = run(launcher, {120: [victim]}, "--max_restarts=1")
    assert result.returncode == 0, result.stderr + result.stdout
    restarts = [line for line in result.stderr.splitlines() if "restart 1 of 1" in line]
    cause = (
        victim.replace("-", " ")
        if victim != "told to stop"
        else "chief 0 ended with exit status 42"
    )
    assert len(restarts) == 1 and cause in restarts[0]
    assert found["iterations"] == STEPS and found["updates"] == [STEPS] * 4
    assert set(found["examples"]) == {STEPS * 8.0}


def test_a_lost_ps_is_the_end_without_restarts(launcher: Launcher) -> None:
    result, _ = run(launcher, {120: ["ps-0"]})
    assert result.returncode == 128 + signal.SIGKILL
    assert "ps 0 was ended by SIGKILL" in result.stderr


def test_the_same_line_goes_on_after_sigterm_to_the_launcher(launcher: Launcher) -> None:
    script = launcher.script(TRAIN)
    process = launcher.begin(*JOB, script, str(launcher.directory), "{}")
    launcher.wait_for(launcher.directory / "step-60")
    process.send_signal(signal.SIGTERM)
    assert launcher.finish(process).returncode == 42
    launcher.expect_nothing_left()
    result, found = run(launcher, {})
    assert result.returncode == 0, result.stderr
    assert "going on after epoch 0, step " in result.stdout
    assert found["iterations"] == STEPS and found["updates"] == [STEPS] * 4


def test_workers_that_read_a_data_set_each_are_lost(launcher: Launcher) -> None:
    """One that is replaced reads its own from the beginning."""
    one = "tf.data.Dataset.from_tensors((tf.fill([8, 4], 0.5), tf.zeros([8, 4])))"
    script = TRAIN.replace(f"data = {one}.repeat({STEPS})", f"data = lambda context: {one}")
    script = script.replace("fit(data,", f"fit(data, steps_per_epoch={STEPS},")
    result, found = run(launcher, {60: ["worker-1"]}, script=script)
    assert result.returncode == 0, result.stderr + result.stdout
    assert STEPS <= found["iterations"] <= STEPS + PENDING
    assert set(found["examples"]) == {STEPS * 8.0}


def lose_a_ps(directory: str) -> None:
    """Without a launcher, which would end the chief."""
    import keras
    import tensorflow as tf

    import tfdml

    cluster = tfdml.cluster.resolve()
    own = Path(directory, f"{cluster.task_type}-{cluster.task_index}")
    own.write_text(str(os.getpid()))
    tfdml.cluster.serve(cluster)

    class Kills(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 50:
                os.kill(int(own.with_name("ps-1").read_text()), signal.SIGKILL)

    strategy = tfdml.strategies.create("parameter_server", cluster)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensors((tf.zeros([8, 4]), tf.zeros([8, 1]))).repeat()
    trainer = tfdml.Trainer(model, strategy)
    trainer.fit(data, steps_per_epoch=10**6, callbacks=[Kills()], verbose=False)


def test_a_chief_finds_out_by_itself_that_a_ps_is_gone(tmp_path: Path) -> None:
    jobs = {"chief": 1, "worker": 2, "ps": 2}
    with (
        start_workers(lose_a_ps, jobs=jobs, args=(str(tmp_path),), timeout_seconds=100) as tasks,
        pytest.raises(WorkerError, match=r"PeerLost: lost ps 1 \("),
    ):
        tasks.wait_for(0)
