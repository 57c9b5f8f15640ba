"""Two workers that train until they are told to stop, or that hang; started by `tfdml launch` as users do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil

SECONDS = 150.0

# While the file "hang" is there, worker 1 waits in `stuck_here`; with the file "stop" training ends.
SCRIPT = """
import os, pathlib, sys, time
import keras, numpy as np, tensorflow as tf, tfdml

directory, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
cluster = tfdml.cluster.resolve()
strategy = tfdml.strategies.create("multi_worker", cluster)
keras.utils.set_random_seed(0)
with strategy.scope():
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2)])
    model.compile(
        tfdml.optimizers.DistributedOptimizer(keras.optimizers.Adam(1e-3), compression="int8"),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=2,
    )
x = np.random.default_rng(0).normal(size=(320, 8)).astype("float32")
data = tf.data.Dataset.from_tensor_slices((x, (x[:, 0] > 0).astype("int64"))).batch(32, drop_remainder=True)


class Control(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if cluster.task_index == 1:
            self.stuck_here()
        self.model.stop_training = (directory / "stop").exists()

    def stuck_here(self):
        while (directory / "hang").exists():
            time.sleep(0.05)


settings = {"train": {"global_batch_size": 32}, "optimizer": {"name": "adam", "learning_rate": 1e-3}}
monitoring = tfdml.callbacks.Monitoring(
    directory / "run", every_steps=10, metrics_port=port, settings=settings,
    images=lambda model: {"predictions": np.full((2, 16, 16, 3), np.asarray(model(x[:1]))[0, 0] > 0, "float32")},
    profile_steps=(20, 24), profile_tasks=(0, 1),
)
tfdml.Trainer(model, strategy).fit(
    data, epochs=100000, validation_data=data.take(2), callbacks=[monitoring, Control()], verbose=0
)
print("trained")
"""


class LiveJob:
    """`model_dir` is where it is monitored; `ports` are where its workers answer Prometheus."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.model_dir = directory / "run"
        self.ports = free_ports(2)
        script = directory / "train.py"
        script.write_text(SCRIPT)
        arguments = [str(script), str(directory), str(self.ports[0])]
        self._log = (directory / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfdml", "launch", "--workers=2", *arguments],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until it holds, as long as the job runs."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def finish(self) -> int:
        """Let training end; the exit status of the launcher."""
        (self.directory / "hang").unlink(missing_ok=True)
        (self.directory / "stop").touch()
        return self.process.wait(SECONDS)

    def close(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            for child in children:
                with suppress(psutil.Error):
                    child.kill()
            self.process.kill()
            self.process.wait()
        self._log.close()


def free_ports(number: int) -> list[int]:
    """Free ports of this host in a row."""
    while True:
        with closing(socket.socket()) as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        if all(_is_free(port + more) for more in range(number)):
            return list(range(port, port + number))


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as found:
        try:
            found.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def tfdml(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, within the time limit."""
    return subprocess.run(
        [sys.executable, "-m", "tfdml", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TERM": "dumb"},
    )


def stacks_by_task(text: str) -> dict[str, str]:
    """What `tfdml stacks` printed, by task."""
    parts = re.split(r"^== (worker \d+) .*$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
