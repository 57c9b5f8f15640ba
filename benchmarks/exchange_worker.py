"""What one TensorFlow worker of `exchange.py` does: TensorFlow's own all-reduce, and tfdml's exchanges."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from linkbench import DEVICE
from taking_turns import Side, serve

import tfdml
from tfdml.collectives import ReplicaState, resolve_exchange
from tfdml.errors import ConfigError
from tfdml.native import loader

# An exchange with state has some behind it when it is looked at.
STEPS_BEFORE_LOOK = 3

Sums = Callable[[list[tf.Tensor], tf.Tensor], Sequence[tf.Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=json.loads, required=True, help="of the gradients")
    parser.add_argument("--packs", type=json.loads, required=True, help="{side: packs}")
    parser.add_argument("--specs", type=json.loads, required=True, help="{side: compression}")
    flags = parser.parse_args()
    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    bench = Bench(strategy, flags.shapes)
    sides, skipped = {}, {}
    for name, packs in flags.packs.items():
        sides[name] = bench.side(name, all_reduce(packs))
    sides["TF float16"] = bench.side("TF float16", all_reduce_float16)
    for name, spec in flags.specs.items():
        try:
            sides[name] = bench.side(name, bench.exchange_of(spec))
        except ConfigError as error:
            skipped[name] = str(error)
    serve(sides, skipped, note=native_or_reference())


class Bench:
    """The gradients of this worker and of all, and what a side does with them."""

    def __init__(self, strategy: tf.distribute.Strategy, shapes: list[list[int]]):
        self._strategy = strategy
        index = strategy.cluster_resolver.task_id
        of_workers = [make_gradients(w, shapes) for w in range(strategy.num_replicas_in_sync)]
        self._gradients = [tf.constant(gradient) for gradient in of_workers[index]]
        self._exact = [np.sum(parts, axis=0) for parts in zip(*of_workers, strict=True)]
        with strategy.scope():
            self._variables = [keras.Variable(np.zeros(shape, "float32")) for shape in shapes]

    def exchange_of(self, spec: str | dict[str, Any]) -> Sums:
        with self._strategy.scope():
            exchange = resolve_exchange(spec)
            exchange.build(self._variables, ReplicaState())
        return lambda gradients, step: exchange.reduce(gradients, self._variables, step=step)

    def side(self, name: str, sums: Sums) -> Side:
        steps = itertools.count()

        @tf.function
        def compiled(step: tf.Tensor) -> Any:
            return self._strategy.run(lambda s: list(sums(self._gradients, s)), args=(step,))

        def exchange() -> Any:
            return compiled(tf.constant(next(steps), tf.int64))

        def look() -> dict[str, Any]:
            for _ in range(STEPS_BEFORE_LOOK):
                exchange()
            before = received_bytes()
            result = [total.numpy() for total in exchange()]
            return compare(result, self._exact) | {"bytes": received_bytes() - before}

        return Side(look, exchange)


def all_reduce(packs: int) -> Sums:
    """TensorFlow's all-reduce in `packs` collectives of equal size; where there are fewer gradients they are cut.

    What is cut stays so: putting it together again would be one more copy for TensorFlow.
    """

    def sums(gradients: list[tf.Tensor], step: tf.Tensor) -> Sequence[tf.Tensor]:
        cuts = max(1, packs // len(gradients))
        pieces = [
            piece
            for gradient in gradients
            for piece in (tf.split(tf.reshape(gradient, [-1]), cuts) if cuts > 1 else [gradient])
        ]
        total_bytes = sum(piece.shape.num_elements() * piece.dtype.size for piece in pieces)
        # TensorFlow begins a pack when the last one has more bytes than this.
        options = tf.distribute.experimental.CommunicationOptions(
            bytes_per_pack=total_bytes // packs - 1
        )
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, pieces, options)

    return sums


def all_reduce_float16(gradients: list[tf.Tensor], step: tf.Tensor) -> Sequence[tf.Tensor]:
    halves = [tf.cast(gradient, tf.float16) for gradient in gradients]
    return [tf.cast(total, tf.float32) for total in all_reduce(1)(halves, step)]


def make_gradients(worker: int, shapes: list[list[int]]) -> list[np.ndarray]:
    generator = np.random.default_rng(worker)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def compare(sums: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> dict[str, Any]:
    """A digest of the bits and the relative distance from `exact`, in the Euclidean norm."""
    flat, wanted = (np.concatenate([part.ravel() for part in parts]) for parts in (sums, exact))
    error = np.linalg.norm(flat - wanted) / np.linalg.norm(wanted)
    return {"digest": hashlib.sha256(flat.tobytes()).hexdigest(), "error": float(error)}


def native_or_reference() -> str:
    return "reference ops" if loader.digest() == loader.REFERENCE else "native ops"


def received_bytes() -> int:
    """Through this namespace's end of the link, since it is there."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == DEVICE:
            return int(counters.split()[0])
    return 0


if __name__ == "__main__":
    main()
