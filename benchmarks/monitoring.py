"""Steps/s of the digits recipe with everything of its monitoring on, over everything off.

On are TensorBoard, JSON lines, a page for Prometheus, MLflow's files, and with them, every 100 steps, a measured
execution and the comparison of replicas; off is a Trainer without callbacks. Both sides train the recipe's model
on its data, one after the other and in the other order the next time, in the same processes: one worker, and two
with one core each. The first two epochs of a side, in which it compiles, do not count; TensorBoard's summaries at
the end of an epoch do.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from table import Row, parse_flags, report

from tfdml.errors import exit_on_user_error
from tfdml.monitoring.json_lines import read_all
from tfdml.monitoring.records import PARTS
from tfdml.testing import run_in_process, run_workers

RECIPES = Path(__file__).parents[1] / "recipes"
WARM_EPOCHS = 2
FIRST_PORT = 19411  # of the pages that nobody reads


def main() -> None:
    flags = parse_flags(__doc__.splitlines()[0])
    epochs, rounds = (12, 2) if flags.quick else (24, 4)
    rows = []
    with exit_on_user_error(), tempfile.TemporaryDirectory() as directory:
        for workers in (1,) if flags.quick else (1, 2):
            model_dir = Path(directory) / str(workers)
            arguments = (str(model_dir), rounds, epochs)
            if workers == 1:
                measured = [run_in_process(train, arguments, timeout_seconds=280)]
            else:
                measured = run_workers(train, workers, arguments, timeout_seconds=280)
            rows += rows_of(workers, measured[0], model_dir)
    report("Monitoring, digits recipe, everything on over everything off", rows, flags.json)
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")


def rows_of(workers: int, rates: dict[str, list[float]], model_dir: Path) -> list[Row]:
    name = f"{workers} worker(s)"
    ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    rows = [
        Row(f"{name}, everything off", statistics.median(rates["off"]), "steps/s"),
        Row(f"{name}, everything on", statistics.median(rates["on"]), "steps/s"),
        Row(name, statistics.median(ratios), "ratio", "higher", 0.98, 1.0, "everything off"),
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


def train(model_dir: str, rounds: int, epochs: int) -> dict[str, list[float]]:
    """Steps/s of each side in each round; runs on every worker."""
    sys.path.insert(0, str(RECIPES))
    import keras

    import tfdml

    cluster = tfdml.cluster.resolve()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[cluster.task_index % len(cores)]})
    strategy = tfdml.strategies.create("multi_worker" if cluster.jobs else "one_device", cluster)

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == WARM_EPOCHS:
                self.begin = time.perf_counter()

        def on_train_end(self, logs: Any = None) -> None:
            self.seconds = time.perf_counter() - self.begin

    rates: dict[str, list[float]] = {"off": [], "on": []}
    for number in range(rounds):
        for side in ("off", "on") if number % 2 else ("on", "off"):
            trainer, data, settings = recipe(strategy)
            clock = Clock()
            callbacks = [clock]
            if side == "on":
                callbacks.append(
                    tfdml.callbacks.Monitoring(
                        model_dir, metrics_port=FIRST_PORT, mlflow="local", settings=settings
                    )
                )
            trainer.fit(data, epochs=epochs, callbacks=callbacks, verbose=False)
            steps = data.steps_per_epoch * (epochs - WARM_EPOCHS)
            rates[side].append(steps / clock.seconds)
    return rates


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
