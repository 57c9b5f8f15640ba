"""Steps/s of the digits recipe with everything of its monitoring on, over everything off.

On are TensorBoard, JSON lines, a page for Prometheus, MLflow's files, measured executions and the comparison of
replicas, all as often as by default; off is a Trainer without callbacks. Both sides train the recipe's model on its
data, on two threads of the same processes, and take turns of a third of a second, because a virtual machine's speed
changes within seconds by more than what is measured. Some turns of each side are a round, which takes as long as it
is between two measured executions; the figure is the median of the rounds' ratios, and their quartiles are told, too.
One worker, and two with one core each. The first turn of a side, in which it compiles and opens its files, does not
count; what it writes at the end of an epoch does. Of two models of a process the one that was made later can be
faster by a hundredth, so that all is done twice: once off is first, once on.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from table import Row, parse_flags, report

from tfdml.errors import exit_on_user_error
from tfdml.monitoring.json_lines import read_all
from tfdml.monitoring.records import PARTS
from tfdml.testing import run_in_process, run_workers

RECIPES = Path(__file__).parents[1] / "recipes"
SIDES = ("off", "on")
EPOCHS_A_TURN = 3
TURNS_A_ROUND = 14
FIRST_PORT = 19411  # of the pages that nobody reads


def main() -> None:
    flags = parse_flags(__doc__.splitlines()[0])
    rounds = 2 if flags.quick else 13
    rows = []
    with exit_on_user_error(), tempfile.TemporaryDirectory() as directory:
        for workers in (1,) if flags.quick else (1, 2):
            model_dir = Path(directory) / str(workers)
            rates: dict[str, list[float]] = {side: [] for side in SIDES}
            for first in SIDES:
                arguments = (str(model_dir), 1 + rounds * TURNS_A_ROUND, first)
                if workers == 1:
                    measured = run_in_process(train, arguments, timeout_seconds=600)
                else:
                    measured = run_workers(train, workers, arguments, timeout_seconds=600)[0]
                for side in SIDES:
                    rates[side] += measured[side]
            rows += rows_of(workers, rates, model_dir)
    report("Monitoring, digits recipe, everything on over everything off", rows, flags.json)
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")


def rows_of(workers: int, rates: dict[str, list[float]], model_dir: Path) -> list[Row]:
    name = f"{workers} worker(s)"
    ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    quarters = statistics.quantiles(ratios)
    rows = [
        Row(f"{name}, everything off", statistics.median(rates["off"]), "steps/s"),
        Row(f"{name}, everything on", statistics.median(rates["on"]), "steps/s"),
        Row(name, statistics.median(ratios), "ratio", "higher", 0.98, 1.0, "everything off"),
        Row(f"{name}, first quartile of {len(ratios)} rounds", quarters[0], "ratio"),
        Row(f"{name}, third quartile", quarters[2], "ratio"),
    ]
    anatomies = [
        task
        for line in read_all(model_dir)["worker 0"]
        if line["kind"] == "anatomy"
        for task in line["tasks"]
    ]
    unexplained = [abs(t["parts"]["unexplained"]) / t["step_seconds"] for t in anatomies]
    rows.append(
        Row(
            f"{name}, unexplained part of a step",
            statistics.median(unexplained),
            "ratio",
            "lower",
            0.05,
            0.0,
        )
    )
    for part in PARTS[:-1]:
        milliseconds = 1e3 * statistics.median(t["parts"][part] for t in anatomies)
        rows.append(Row(f"{name}, {part}", milliseconds, "ms/step", "lower"))
    return rows


class Turns:
    """Two threads, one of which works; `first` begins."""

    def __init__(self, first: str) -> None:
        self._mine = {side: threading.Semaphore(0) for side in SIDES}
        self._mine[first].release()

    def wait(self, side: str) -> None:
        self._mine[side].acquire()

    def pass_on(self, side: str) -> None:
        self._mine["on" if side == "off" else "off"].release()


def train(model_dir: str, turns: int, first: str, **monitoring: Any) -> dict[str, list[float]]:
    """Steps/s of each side in each round; runs on every worker."""
    sys.path.insert(0, str(RECIPES))
    import keras

    import tfdml

    cluster = tfdml.cluster.resolve()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[cluster.task_index % len(cores)]})
    strategy = tfdml.strategies.create("multi_worker" if cluster.jobs else "one_device", cluster)
    order = Turns(first)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    steps_a_turn: list[int] = []
    errors: list[BaseException] = []
    monitoring = {"metrics_port": FIRST_PORT, "mlflow": "local"} | monitoring

    class TakesTurns(keras.callbacks.Callback):
        def __init__(self, side: str):
            super().__init__()
            self.side = side
            self.begin = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if (epoch + 1) % EPOCHS_A_TURN == 0:
                seconds[self.side].append(time.perf_counter() - self.begin)
                order.pass_on(self.side)
                order.wait(self.side)
                self.begin = time.perf_counter()

    def work(side: str) -> None:
        order.wait(side)
        try:
            trainer, data, settings = recipe(strategy)
            steps_a_turn.append(EPOCHS_A_TURN * data.steps_per_epoch)
            callbacks: list[keras.callbacks.Callback] = [TakesTurns(side)]
            if side == "on":
                callbacks.append(
                    tfdml.callbacks.Monitoring(model_dir, settings=settings, **monitoring)
                )
            epochs = turns * EPOCHS_A_TURN
            trainer.fit(data, epochs=epochs, callbacks=callbacks, verbose=False)
        except BaseException as error:
            errors.append(error)
        finally:
            order.pass_on(side)

    threads = [threading.Thread(target=work, args=(side,)) for side in SIDES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]

    def rates(side: str) -> list[float]:
        counted = seconds[side][1:]
        return [
            TURNS_A_ROUND * steps_a_turn[0] / sum(counted[begin : begin + TURNS_A_ROUND])
            for begin in range(0, len(counted), TURNS_A_ROUND)
        ]

    return {side: rates(side) for side in SIDES}


def recipe(strategy: Any) -> tuple[Any, Any, dict[str, Any]]:
    """(trainer, training data, settings) as train_image_classifier.py has them by default."""
    import keras
    from image_models import build_model
    from train_image_classifier import ImageClassifierConfig

    import tfdml

    config = ImageClassifierConfig()
    keras.utils.set_random_seed(config.train.seed)
    images = tfdml.data.open_images(config.data.dataset, data_dir=config.data.data_dir)
    data = images.training(config.train.global_batch_size, seed=config.train.seed)
    total_steps = config.train.epochs * data.steps_per_epoch
    with strategy.scope():
        model = build_model(config.model, images.image_shape, images.num_classes)
        model.compile(
            optimizer=tfdml.optimizers.from_config(
                config.optimizer,
                global_batch_size=config.train.global_batch_size,
                total_steps=total_steps,
            ),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=config.train.steps_per_execution,
        )
    return tfdml.Trainer(model, strategy), data, config.model_dump(mode="json")


if __name__ == "__main__":
    main()
