"""One task of the measurement between tasks: TensorFlow's own collectives, and tfdml's exchanges. Runs in a child.

All tasks run the same exchanges in the same order, and each waits for all: so what decides how many there are is
agreed on. Sides take turns after idle gaps, and the slowest task's time counts.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

ROUNDS = 7
LEAST_ROUNDS = 3
MEASURE_SECONDS = 12.0
# Of one dense exchange; fewer gradients are taken where it would be slower. Making the variables and residuals
# of all sides takes some 30 times as long, because TensorFlow broadcasts them.
SLOWEST_SECONDS = 0.5
IDLE_SECONDS = 0.03
LATENCY_EXCHANGES = 20
CALIBRATION_ELEMENTS = 250_000
DENSE = "none"


def main(order: Mapping[str, Any], say: Callable[..., None]) -> None:
    """`order`: the `addresses` of all tasks, this one's `index`, how many `parameters`, `native` ops or not."""
    say(doing="importing TensorFlow")
    if not order["native"]:
        os.environ["TFDML_NATIVE"] = (
            "off"  # Not built; a minute of compiling is not what was asked for.
        )
    os.environ.pop("TF_CONFIG", None)
    import tfdml
    from tfdml.cluster import ClusterSpec

    cluster = ClusterSpec({"worker": tuple(order["addresses"])}, "worker", order["index"])
    say(doing="waiting for the other tasks")
    strategy = tfdml.strategies.create("multi_worker", cluster)
    bench = _Bench(strategy)
    bench.barrier()
    say(connected=True, doing="measuring")
    latency = bench.latency_seconds()
    elements = bench.elements(order["parameters"])
    seconds, skipped = bench.compare(elements)
    say(
        latency_seconds=latency,
        elements=elements,
        seconds=seconds,
        skipped=skipped,
        replicas=strategy.num_replicas_in_sync,
    )
    say(done=True)
    # A task that left earlier would break what the others still do. Its own last exchange may end before the
    # others have all of their parts of it, hence the wait, and that a failure here means nothing any more.
    with suppress(Exception):
        bench.barrier()
    time.sleep(1.0)


def from_the_first_step(name: str) -> dict[str, Any]:
    """A compression without the dense steps that some begin with: those are no exchange to time."""
    if name == DENSE:
        return {"name": name}
    return {"name": name, "warmup_steps" if name == "dgc" else "start_step": 0}


class _Bench:
    """What the tasks do together; every method is called by all of them at the same point."""

    def __init__(self, strategy: Any):
        import tensorflow as tf

        from tfdml.training.agreement import Agreement

        self._tf = tf
        self._strategy = strategy
        self._agreement = Agreement(strategy)

    def barrier(self) -> None:
        self._agreement.barrier()

    def latency_seconds(self) -> float:
        """Of an all-reduce of 4 bytes."""
        times = []
        for _ in range(LATENCY_EXCHANGES):
            begin = time.perf_counter()
            self._agreement.any(False)
            times.append(time.perf_counter() - begin)
        return self._slowest(statistics.median(times))

    def elements(self, parameters: int) -> int:
        """As many as `parameters`, or fewer where the link would take too long for them."""
        few = min(parameters, CALIBRATION_ELEMENTS)
        trial = self._side(from_the_first_step(DENSE), *self._gradients(few))
        trial()  # The first one is traced, and opens connections.
        begin = time.perf_counter()
        trial()
        seconds = self._slowest(time.perf_counter() - begin)
        elements = parameters
        while seconds * elements / few > SLOWEST_SECONDS and elements > 40_000:
            elements //= 4
        return elements

    def compare(self, elements: int) -> tuple[dict[str, float], dict[str, str]]:
        """Median seconds of a whole exchange by compression, and why some were not measured."""
        from tfdml.collectives.resolve import COMPRESSION_NAMES
        from tfdml.errors import ConfigError

        sides: dict[str, Callable[[], Any]] = {}
        skipped: dict[str, str] = {}
        tensors = self._gradients(elements)
        for name in COMPRESSION_NAMES:
            try:
                sides[name] = self._side(from_the_first_step(name), *tensors)
            except ConfigError as error:
                skipped[name] = str(error)
        times: dict[str, list[float]] = {name: [] for name in sides}
        begin = time.monotonic()
        for number in range(ROUNDS + 1):
            for name, side in sides.items():
                self.barrier()
                time.sleep(IDLE_SECONDS)
                start = time.perf_counter()
                side()
                if number:  # The first one is traced, and fills the connections' windows.
                    times[name].append(time.perf_counter() - start)
            late = number >= LEAST_ROUNDS and time.monotonic() - begin > MEASURE_SECONDS
            if self._agreement.any(late):
                break
        return {
            name: self._slowest(statistics.median(each)) for name, each in times.items()
        }, skipped

    def _gradients(self, elements: int) -> tuple[list[Any], list[Any]]:
        """A matrix of random gradients, another one on every task, and the variable that they are of."""
        import keras
        import numpy as np

        rows = max(1, int(elements**0.5))
        shape = (rows, elements // rows)
        generator = np.random.default_rng(self._agreement.task)
        with self._strategy.scope():
            variable = keras.Variable(np.zeros(shape, "float32"))
        return [self._tf.constant(generator.standard_normal(shape, np.float32))], [variable]

    def _side(
        self, compression: Any, gradients: list[Any], variables: list[Any]
    ) -> Callable[[], Any]:
        """What exchanges the gradients once and waits for the sum."""
        from tfdml.collectives import ReplicaState, resolve_exchange

        tf = self._tf
        with self._strategy.scope():
            exchange = resolve_exchange(compression)
            exchange.build(variables, ReplicaState())

        @tf.function
        def run(step: Any) -> Any:
            def on_replica(step: Any) -> Any:
                return exchange.reduce(gradients, variables, step=step)

            (total,) = self._strategy.run(on_replica, args=(step,))
            return self._strategy.experimental_local_results(total)[0][0, 0]

        step = 0

        def once() -> None:
            nonlocal step
            run(tf.constant(step, tf.int64)).numpy()
            step += 1

        return once

    def _slowest(self, seconds: float) -> float:
        return max(self._agreement.of_each(seconds))
