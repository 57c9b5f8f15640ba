"""Faults in training processes: each happens at its moment, in its task, and the others see what they should."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tfdml.testing import current_task, run_in_process, run_workers, start_workers, weight_hash
from tfdml.testing.faults import Faults, from_environment

STEPS = 6


def small_model(steps_per_execution=1, loss_scale=None):
    import keras

    import tfdml

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    if loss_scale:
        optimizer = tfdml.optimizers.DistributedOptimizer(optimizer, loss_scale=loss_scale)
    model.compile(optimizer, "mse", steps_per_execution=steps_per_execution)
    return model


def small_data(steps=STEPS):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(8 * steps, 4)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x.sum(axis=1, keepdims=True))).batch(8)


def marks_steps(directory):
    """A callback that makes a file for every trained step of this task."""
    import keras

    task = current_task()[1]
    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: Path(directory, f"{task}-{batch}").touch()
    )


def fit_alone(directory, text):
    """Every task trains by itself: what is looked at is when its fault comes."""
    small_model().fit(small_data(), callbacks=[marks_steps(directory), Faults(text)], verbose=0)


def steps_of(directory, task):
    return sorted(int(path.name.split("-")[1]) for path in directory.glob(f"{task}-*"))


def until(condition):
    """The test runner's time limit bounds the wait."""
    while not condition():
        time.sleep(0.02)


def test_kill_stop_preempt_and_deadlock_before_a_step(tmp_path):
    text = "kill:worker=0,step=3; stop:worker=1,step=2; preempt:worker=2,step=4; deadlock:worker=3,step=1"
    with start_workers(fit_alone, 4, (str(tmp_path), text)) as workers:
        killed, stopped, preempted, hung = workers
        until(lambda: killed.exit_code is not None and preempted.exit_code is not None)
        assert killed.exit_code == -signal.SIGKILL
        assert steps_of(tmp_path, 0) == [0, 1, 2], "3 steps have been trained"
        assert preempted.exit_code == -signal.SIGTERM
        assert steps_of(tmp_path, 2) == [0, 1, 2, 3]
        until(lambda: psutil.Process(stopped.pid).status() == psutil.STATUS_STOPPED)
        assert steps_of(tmp_path, 1) == [0, 1]
        until(lambda: "deadlock:worker=3,step=1" in hung.output())

        def shows_both_threads():
            hung.kill(signal.SIGUSR1)  # the stacks of all its threads; it may just be about to hang
            time.sleep(0.2)
            return "in deadlock" in hung.output() and "in hold_the_other" in hung.output()

        until(shows_both_threads)
        assert not hung.finished and steps_of(tmp_path, 3) == [0]
        stopped.kill(signal.SIGCONT)
        until(lambda: stopped.finished)
        assert steps_of(tmp_path, 1) == list(range(STEPS)), "a stopped process can go on"


def train_with_nan(steps_per_execution, text, strategy_name, **settings):
    """What every replica is like at the end, and the steps (from 0) after which a skipped one was counted."""
    import keras

    import tfdml

    strategy = tfdml.strategies.create(strategy_name, tfdml.cluster.resolve(), **settings)
    with strategy.scope():
        model = small_model(steps_per_execution, loss_scale="dynamic")
    skipped = []

    def count(batch, logs):
        skipped.append((batch, int(model.optimizer.skipped_steps.numpy())))

    callbacks = [Faults(text), keras.callbacks.LambdaCallback(on_train_batch_end=count)]
    history = tfdml.Trainer(model, strategy).fit(
        small_data(), epochs=2, callbacks=callbacks, verbose=False
    )
    weights = [w.numpy() for w in model.trainable_variables]
    return {
        "skipped": skipped,
        "iterations": int(model.optimizer.iterations.numpy()),
        "scale": float(model.optimizer.loss_scale),
        "hash": weight_hash(model, include_optimizer=True),
        "finite": all(np.isfinite(w).all() for w in weights),
        "loss": history.history["loss"],
    }


def check_skipped(results, expected, num_skipped=1):
    for result in results:
        assert result["skipped"] == expected
        assert result["iterations"] == 2 * STEPS - num_skipped
        assert result["scale"] == 2.0 ** (15 - num_skipped)
        assert result["finite"] and np.isfinite(result["loss"]).all(), (
            "the metrics have not seen it"
        )
        assert result["hash"] == results[0]["hash"]


def test_a_nan_on_one_worker_skips_the_same_step_on_both():
    results = run_workers(train_with_nan, 2, (1, "nan:worker=1,step=4", "multi_worker"))
    before, after = [(batch, 0) for batch in range(4)], [(batch, 1) for batch in (4, 5)]
    check_skipped(results, before + after + [(batch, 1) for batch in range(STEPS)])


@pytest.mark.slow
def test_a_nan_within_an_execution_of_several_steps():
    text = "nan:worker=0,step=7,times=2"
    results = run_workers(train_with_nan, 2, (3, text, "multi_worker"))
    check_skipped(results, [(2, 0), (5, 0), (2, 2), (5, 2)], num_skipped=2)


@pytest.mark.slow
def test_a_nan_on_one_of_three_mirrored_replicas():
    arguments = (1, "nan:worker=0,step=0", "mirrored")
    kwargs = {"num_virtual_devices": 3}
    result = run_in_process(train_with_nan, arguments, kwargs)
    check_skipped([result], [(batch, 1) for batch in [*range(STEPS), *range(STEPS)]])


def train_plainly(text):
    """The weights after plain Keras's fit, with faults or without."""
    model = small_model()
    callbacks = [Faults(text)] if text else []
    model.fit(small_data(), callbacks=callbacks, verbose=0)
    assert "scale_loss" not in vars(model.optimizer)
    return weight_hash(model), [bool(np.isnan(w).all()) for w in model.get_weights()]


@pytest.mark.slow
def test_a_nan_that_has_not_come_changes_no_bit_and_says_so(capfd):
    undisturbed, _ = run_in_process(train_plainly, ("",))
    disturbed, _ = run_in_process(train_plainly, (f"nan:worker=0,step={STEPS}",))
    assert disturbed == undisturbed
    missed = f"training has ended, and the fault 'nan:worker=0,step={STEPS}' has not happened"
    assert missed in capfd.readouterr().out
    poisoned, is_nan = run_in_process(train_plainly, (f"nan:worker=0,step={STEPS - 1}",))
    assert poisoned != undisturbed and all(is_nan), "nothing skips the step in plain Keras"


def sleeps(text, steps_per_execution):
    """For how long each execution was held up."""
    import keras

    naps = []
    real, time.sleep = time.sleep, naps.append
    try:
        marks = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda b, logs: naps.append(b))
        model = small_model(steps_per_execution)
        model.fit(small_data(), callbacks=[Faults(text), marks], verbose=0)
    finally:
        time.sleep = real
    return naps


def test_slow_for_some_steps():
    text = "slow:worker=0,step=2,times=3,sleep_seconds=0.5"
    assert run_in_process(sleeps, (text, 2)) == [0, 1.0, 2, 0.5, 4]


def work_on_files(directory):
    """Three files written, renamed and read, under the faults of the environment."""
    assert len(from_environment()) == 1
    task, errors = current_task()[1], []
    for number in range(3):
        temporary = Path(directory, f".{task}-{number}.json.partial")
        try:
            temporary.write_text("x")
            temporary.rename(Path(directory, f"{task}-{number}.json"))
            Path(directory, f"{task}-{number}.json").read_text()
        except OSError as error:
            errors.append((number, error.errno, os.path.basename(error.filename)))
    if task == 4:
        signal.pause()
    return errors


def test_faults_when_files_are_written_renamed_and_read(tmp_path):
    faults = [
        "kill:worker=0,write=.json,nth=2",
        "kill:worker=1,rename=.json,nth=2",
        "kill:worker=2,read=.json",
        "full_disk:worker=3,write=.json,nth=2,times=1",
        f"kill:worker=4,after_seconds=0.1,once={tmp_path}/once",
    ]
    env = {"TFDML_FAULTS": ";".join(faults)}
    with start_workers(work_on_files, 5, (str(tmp_path),), env=env) as workers:
        until(lambda: all(worker.finished for worker in workers))
        assert [w.exit_code for w in workers] == [-9, -9, -9, None, -9]
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {
            "0-0.json",
            *("1-0.json", ".1-1.json.partial"),
            "2-0.json",
            *("3-0.json", "3-2.json"),
            *("4-0.json", "4-1.json", "4-2.json", "once"),
        }
        assert workers[3].result == [(1, 28, ".3-1.json.partial")], "ENOSPC"
        for fault, worker in zip(faults, workers, strict=True):
            assert f"now comes the fault that was asked for: {fault}\n" in worker.output()


def fault_with_file(text):
    return small_model().fit(small_data(), callbacks=[Faults(text)], verbose=0).history["loss"]


def test_once_is_once_however_often_the_job_starts(tmp_path):
    mark = tmp_path / "once"
    text = f"kill:worker=0,step=0,start=every,once={mark}"
    mark.touch()
    assert len(run_in_process(fault_with_file, (text,))) == 1
