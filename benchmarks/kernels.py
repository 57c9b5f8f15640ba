"""GB/s of each native kernel beside memcpy of the same bytes and beside the same in TensorFlow's own ops.

4,000,000 float32 values (16 MB), one thread. Four sets of tensors take turns, so that none stays in a cache.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As strategies.create sets it: the default allocator gives memory back, and every output faults its pages in.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")

import ctypes
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import tensorflow as tf
from table import Row, parse_flags, report

from tfdml import compression
from tfdml.compression.block import BlockCodec
from tfdml.native import functions_block, functions_sparse, loader, reference, reference_sparse

ELEMENTS = 4_000_000
SETS = 4
PAYLOADS = 2  # that a decoding adds up
# Over memcpy: what must be reached, and where we are going.
BOUNDS = {
    "int8: encode with feedback": (0.5, 0.7),
    "int4: encode with feedback": (0.5, 0.7),
}
OVER_TENSORFLOW = {"topk: selection": 10.0}


@dataclass(frozen=True)
class Kernel:
    """One kernel on each of the sets.

    Attributes:
        num_bytes: what one call reads and writes.
        native, reference: from the number of a set to a tensor that is there when the work is done.
    """

    name: str
    num_bytes: int
    native: Callable[[int], tf.Tensor]
    reference: Callable[[int], tf.Tensor]


class Data:
    """What all kernels work on. Tensors, not Python numbers: those would be constants in a graph."""

    def __init__(self, elements: int):
        generator = np.random.default_rng(0)
        self.elements = elements
        self.values = [
            tf.constant(generator.normal(size=elements).astype(np.float32)) for _ in range(SETS)
        ]
        self.residuals = [tf.Variable(tf.zeros([elements])) for _ in range(SETS)]
        self.seed = tf.constant([1, 2])
        self.commit = tf.constant(True)
        self.residual_scale = tf.constant(1.0)
        self.initial = tf.constant(0.0)


def block_kernels(data: Data) -> Iterator[Kernel]:
    codecs = {
        "int8": compression.Int8(),
        "int4": compression.Int4(),
        "int8 stochastic": compression.Int8(rounding="stochastic"),
        "int4 stochastic": compression.Int4(rounding="stochastic"),
        "fp16": compression.Fp16(),
        "bf16": compression.Bf16(),
        "signsgd": compression.SignSgd(),
        "qsgd": compression.Qsgd(),
        "terngrad": compression.TernGrad(),
    }
    for name, codec in codecs.items():
        yield from _of_codec(name, codec, data)
    yield Kernel(
        "all finite",
        4 * data.elements,
        lambda i: functions_block.all_finite([data.values[i]]),
        lambda i: reference.all_finite([data.values[i]]),
    )


def _of_codec(name: str, codec: BlockCodec, data: Data) -> Iterator[Kernel]:
    fmt, seed = codec.format, data.seed
    vector, payload = 4 * data.elements, 4 * codec.payload_words(data.elements)
    payloads = [tf.stack([codec.encode([x], seed=seed)] * PAYLOADS) for x in data.values]

    def feedback(functions: ModuleType) -> Callable[[int], tf.Tensor]:
        return lambda i: functions.encode_feedback(
            fmt,
            [data.values[i]],
            [data.residuals[i]],
            seed=seed,
            commit=data.commit,
            residual_scale=data.residual_scale,
            chunks=1,
        )[0, :1]

    def encode(functions: ModuleType) -> Callable[[int], tf.Tensor]:
        return lambda i: functions.encode(fmt, [data.values[i]], seed=seed, chunks=1)[0, :1]

    def decode(functions: ModuleType) -> Callable[[int], tf.Tensor]:
        shapes = [data.values[0].shape]
        return lambda i: functions.decode_sum(fmt, payloads[i], shapes, initial=data.initial)[0][:1]

    for what, num_bytes, function in (
        ("encode with feedback", 3 * vector + payload, feedback),
        ("encode", vector + payload, encode),
        (f"decode and add {PAYLOADS}", PAYLOADS * payload + vector, decode),
    ):
        yield Kernel(f"{name}: {what}", num_bytes, function(functions_block), function(reference))


def sparse_kernels(data: Data) -> Iterator[Kernel]:
    """At the density of 1%; selection is compared with `tf.math.top_k` of the magnitudes."""
    vector, k = 4 * data.elements, data.elements // 100
    settings = {"commit": data.commit, "residual_scale": data.residual_scale}
    shapes = [data.values[0].shape]
    payloads = [tf.stack([functions_sparse.topk([x], k)] * PAYLOADS) for x in data.values]

    def feedback(functions: ModuleType) -> Callable[[int], tf.Tensor]:
        return lambda i: functions.topk_feedback(
            [data.values[i]], [data.residuals[i]], k, **settings
        )[0, :1]

    def random(functions: ModuleType) -> Callable[[int], tf.Tensor]:
        return lambda i: functions.randomk_feedback(
            [data.values[i]], [data.residuals[i]], k, seed=data.seed, unbiased=False, **settings
        )[0, :1]

    def add(functions: ModuleType) -> Callable[[int], tf.Tensor]:
        return lambda i: functions.sum_indexed(payloads[i], shapes, initial=data.initial)[0][:1]

    yield Kernel(
        "topk: selection",
        vector + 8 * k,
        lambda i: functions_sparse.topk([data.values[i]], k)[0, :1],
        lambda i: tf.math.top_k(tf.abs(data.values[i]), k, sorted=False).indices[:1],
    )
    for name, num_bytes, function in (
        ("topk: encode with feedback", 3 * vector + 8 * k, feedback),
        (f"topk: decode and add {PAYLOADS}", PAYLOADS * 8 * k + vector, add),
        ("randomk: encode with feedback", 3 * vector + 4 * k, random),
    ):
        yield Kernel(name, num_bytes, function(functions_sparse), function(reference_sparse))


class Memcpy:
    """Copies that read and write a number of bytes in all: half of them each."""

    def __init__(self, most_bytes: int):
        size = most_bytes // 2
        self._pairs = [(np.ones(size, np.uint8), np.ones(size, np.uint8)) for _ in range(SETS)]

    def __call__(self, num_bytes: int) -> None:
        for source, target in self._pairs:
            ctypes.memmove(target.ctypes.data, source.ctypes.data, num_bytes // 2)


def seconds(function: Callable[[], object]) -> float:
    """Of one of the sets."""
    begin = time.perf_counter()
    function()
    return (time.perf_counter() - begin) / SETS


def measure(kernel: Kernel, memcpy: Memcpy, rounds: int) -> list[Row]:
    native, plain = on_all_sets(kernel.native), on_all_sets(kernel.reference)
    times, over_memcpy, over_plain = [], [], []
    for _ in range(rounds):
        own = seconds(native)
        times.append(own)
        over_memcpy.append(seconds(lambda: memcpy(kernel.num_bytes)) / own)
        over_plain.append(seconds(plain) / own)
    rate = kernel.num_bytes / statistics.median(times) / 1e9
    floor, target = BOUNDS.get(kernel.name, (None, None))
    return [
        Row(kernel.name, rate, "GB/s"),
        Row(
            kernel.name, statistics.median(over_memcpy), "ratio", "higher", floor, target, "memcpy"
        ),
        Row(
            kernel.name,
            statistics.median(over_plain),
            "ratio",
            "higher",
            OVER_TENSORFLOW.get(kernel.name, 1.0),
            None,
            "TensorFlow",
        ),
    ]


def on_all_sets(call: Callable[[int], tf.Tensor]) -> Callable[[], object]:
    function = tf.function(lambda: [call(i) for i in range(SETS)], autograph=False)
    compiled = function.get_concrete_function()
    compiled()  # allocates memory
    return lambda: [result.numpy() for result in compiled()]


def main() -> None:
    flags = parse_flags(__doc__)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if loader.ops() is None:
        raise SystemExit("There are no native kernels to measure. See BUILD.md.")
    data = Data(ELEMENTS)
    memcpy = Memcpy(4 * 4 * ELEMENTS)
    rows = []
    for kernel in itertools.chain(block_kernels(data), sparse_kernels(data)):
        rows += measure(kernel, memcpy, rounds=3 if flags.quick else 11)
    report("Native kernels, 16 MB, one thread", rows, flags.json)


if __name__ == "__main__":
    main()
