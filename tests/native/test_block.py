"""The blockwise kernels against the same in TensorFlow's own ops, bit by bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import flat, mixed, parts, variables
from tfdml.native import functions_block, loader, reference
from tfdml.native.block_format import BlockFormat

SEED = tf.constant([5, -7])
TRUE, FALSE, ONE, ZERO = tf.constant(True), tf.constant(False), tf.constant(1.0), tf.constant(0.0)
INT8 = BlockFormat("absmax", 8, 256)
FORMATS = {
    "int8": INT8,
    "int8 stochastic": BlockFormat("absmax", 8, 256, stochastic=True),
    "int8, block 32": BlockFormat("absmax", 8, 32),
    "int8, block 65536": BlockFormat("absmax", 8, 65536),
    "int4": BlockFormat("absmax", 4, 256),
    "int4 stochastic": BlockFormat("absmax", 4, 64, stochastic=True),
    "terngrad": BlockFormat("absmax", 2, 2048, stochastic=True, clip=2.5),
    "terngrad, no clipping": BlockFormat("absmax", 2, 2048, stochastic=True),
    "qsgd": BlockFormat("l2", 4, 512, stochastic=True),
    "qsgd 8": BlockFormat("l2", 8, 512, stochastic=True),
    "l2 to nearest": BlockFormat("l2", 4, 512),
    "signsgd": BlockFormat("sign", 1, 1024),
    "signsgd, block 32": BlockFormat("sign", 1, 32),
    "fp16": BlockFormat("fp16", 16, 4096),
    "bf16": BlockFormat("bf16", 16, 32),
}
COMPILED = ("int8", "terngrad", "qsgd", "signsgd", "fp16", "bf16")
every_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """Without native ops these tests would compare the reference with itself."""
    monkeypatch.setenv("TFDML_NATIVE", "require")
    assert loader.ops() is not None


def tiny(size: int) -> np.ndarray:
    """Subnormal numbers, zeros of both signs, and values on either side of what counts as zero."""
    x = mixed(size) * np.float32(1e-38)
    x[::5] = -0.0
    x[1::70] = 1e-20
    x[2::700] = 2e-30
    return x


def scarce(size: int) -> np.ndarray:
    """Mostly zeros of both signs."""
    x = mixed(size)
    keep = np.random.default_rng(size).random(size) < 0.05
    return x * keep


def ties(size: int) -> np.ndarray:
    """Halfway between two levels of 8 bits, and of half precision and bfloat16."""
    x = np.random.default_rng(size).integers(-253, 254, size=size).astype("f4") / 2
    x[::256] = 127
    return x


def cases(fmt: BlockFormat) -> list[tuple[Callable[[int], np.ndarray], int]]:
    """(values, how many): every number that a block may end with, and every kind of values."""
    ends = [0, 1, fmt.block - 1, fmt.block, fmt.block + 1]
    kinds = [mixed, tiny, scarce, ties]
    return [*((mixed, size) for size in ends), *((values, 20_011) for values in kinds)]


def assert_same_bits(actual: list, expected: list) -> None:
    for a, b in zip(actual, expected, strict=True):
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.numpy().tobytes() == b.numpy().tobytes()


@every_format
def test_encode_and_decode_sum(fmt):
    for values, size in cases(fmt):
        for chunks in (1, 3):
            x = parts(values(size))
            words = functions_block.encode(fmt, x, seed=SEED, chunks=chunks)
            wanted = reference.encode(fmt, x, seed=SEED, chunks=chunks)
            shapes = [part.shape for part in x]
            payloads = tf.stack([words, words, words])
            assert_same_bits(
                [words, *functions_block.decode_sum(fmt, payloads, shapes, initial=ZERO)],
                [wanted, *reference.decode_sum(fmt, payloads, shapes, initial=ZERO)],
            )


@every_format
def test_encode_feedback(fmt):
    for values, size in cases(fmt):
        for chunks, scale in ((1, 1.0), (3, 0.37)):
            mine, expected = variables(values(size)), variables(values(size))
            arguments = {"seed": SEED, "commit": TRUE, "residual_scale": tf.constant(scale)}
            for step in range(2):
                x = parts(mixed(size, step) * np.float32(1e-3))
                results = [
                    functions.encode_feedback(fmt, x, old, chunks=chunks, **arguments)
                    for functions, old in ((functions_block, mine), (reference, expected))
                ]
                assert_same_bits([results[0], *mine], [results[1], *expected])


@every_format
def test_encode_remainder(fmt):
    for values, size in cases(fmt):
        length = fmt.chunk_elements(size, 3)
        mine, expected = variables(mixed(size)), variables(mixed(size))
        for chunk in range(3):
            x, offset = tf.constant(values(length)), tf.constant(chunk * length, tf.int64)
            results = [
                functions.encode_remainder(fmt, x, old, offset, seed=SEED, commit=TRUE)
                for functions, old in ((functions_block, mine), (reference, expected))
            ]
            assert_same_bits([results[0], *mine], [results[1], *expected])


@every_format
def test_a_million_values(fmt):
    x = mixed(1_000_003)
    mine, expected = variables(x), variables(x)
    results = [
        functions.encode_feedback(
            fmt, parts(x), old, seed=SEED, commit=TRUE, residual_scale=ONE, chunks=2
        )
        for functions, old in ((functions_block, mine), (reference, expected))
    ]
    assert_same_bits([results[0], *mine], [results[1], *expected])
    shapes = [part.shape for part in parts(x)]
    assert_same_bits(
        functions_block.decode_sum(fmt, results[0][None], shapes, initial=ZERO),
        reference.decode_sum(fmt, results[0][None], shapes, initial=ZERO),
    )


# One of every kind, with and without random numbers; compiling takes long.
@pytest.mark.parametrize(
    "fmt",
    [
        pytest.param(fmt, id=name, marks=() if name in COMPILED else pytest.mark.slow)
        for name, fmt in FORMATS.items()
    ],
)
def test_the_reference_computes_the_same_when_compiled(fmt):
    """Optimizers rewrite float arithmetic; enough payloads that sums would be regrouped."""
    x = parts(mixed(5_003))
    shapes = [part.shape for part in x]

    def both(x):
        words = reference.encode(fmt, x, seed=SEED, chunks=2)
        payloads = tf.stack([words] + [reference.encode(fmt, x[::-1], seed=SEED, chunks=2)] * 19)
        return words, *reference.decode_sum(fmt, payloads, shapes, initial=ZERO)

    expected = both(x)
    for jit_compile in (False, True):
        assert_same_bits(tf.function(both, jit_compile=jit_compile)(x), expected)


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_003])
def test_all_finite(size):
    assert functions_block.all_finite(parts(mixed(size)))
    for index in {0, size // 3, size - 1} if size else ():
        for value in (np.nan, np.inf, -np.inf):
            x = mixed(size)
            x[index] = value
            assert not functions_block.all_finite(parts(x))
            assert not reference.all_finite(parts(x))


def encode(
    residuals: list[tf.Variable], commit: tf.Tensor = TRUE, fmt: BlockFormat = INT8
) -> tf.Tensor:
    size = sum(residual.shape.num_elements() for residual in residuals)
    return functions_block.encode_feedback(
        fmt, parts(mixed(size, 1)), residuals, seed=SEED, commit=commit, residual_scale=ONE
    )


def remainder(residuals: list[tf.Variable], commit: tf.Tensor = TRUE) -> tf.Tensor:
    x, offset = tf.constant(mixed(512, 2)), tf.constant(256, tf.int64)
    return functions_block.encode_remainder(INT8, x, residuals, offset, seed=SEED, commit=commit)


@pytest.mark.parametrize("function", [encode, remainder])
def test_a_tensor_that_was_read_before_keeps_its_value(function):
    residuals = variables(mixed(1000))
    seen = [residual.read_value() for residual in residuals]
    function(residuals)
    assert flat(seen).tobytes() == mixed(1000).tobytes()
    assert flat(residuals).tobytes() != mixed(1000).tobytes()


@pytest.mark.parametrize("function", [encode, remainder])
def test_without_commit_nothing_changes_and_the_payload_decodes_to_zeros(function):
    residuals = variables(mixed(1000))
    words = function(residuals, FALSE)
    assert flat(residuals).tobytes() == mixed(1000).tobytes()
    assert not words.numpy().any()


def test_variables_that_copy_on_read_are_written_to_as_well():
    residuals, expected = variables(mixed(1000)), variables(mixed(1000))
    for residual in residuals:
        if residual.shape.num_elements():
            residual.scatter_nd_add([[0] * residual.shape.rank], [0.0])
    seen = [residual.read_value() for residual in residuals]
    encode(residuals)
    encode(expected)
    assert flat(seen).tobytes() == mixed(1000).tobytes()
    assert_same_bits(residuals, expected)


def test_reads_and_writes_keep_their_order_in_a_loop():
    residual = tf.Variable(tf.zeros([100]))
    x = tf.range(100, dtype=tf.float32)

    @tf.function
    def steps():
        sums = tf.TensorArray(tf.float32, 5)
        for step in tf.range(5):
            functions_block.encode_feedback(
                INT8, [x], [residual], seed=SEED, commit=TRUE, residual_scale=ONE
            )
            sums = sums.write(step, tf.reduce_sum(residual))
            residual.assign_add(tf.ones([100]))
        return sums.stack()

    old, sums = tf.Variable(tf.zeros([100])), []
    for _ in range(5):
        reference.encode_feedback(
            INT8, [x], [old], seed=SEED, commit=TRUE, residual_scale=ONE, chunks=1
        )
        sums.append(tf.reduce_sum(old))
        old.assign_add(tf.ones([100]))
    np.testing.assert_array_equal(steps(), sums)


def test_static_shapes_in_a_graph():
    residual = tf.Variable(tf.zeros([1300]))

    @tf.function
    def words(x):
        flat, offset = tf.reshape(x, [-1]), tf.constant(0, tf.int64)
        return (
            functions_block.encode(INT8, [x, x], seed=SEED, chunks=2),
            functions_block.encode_feedback(
                INT8, [flat], [residual], seed=SEED, commit=TRUE, residual_scale=ONE
            ),
            functions_block.encode_remainder(
                INT8, flat, [residual], offset, seed=SEED, commit=TRUE
            ),
        )

    shapes = words.get_concrete_function(tf.TensorSpec([10, 130])).output_shapes
    assert shapes == ((2, 6 * 65), (1, 6 * 65), (1, 6 * 65))


def test_arguments_that_do_not_fit_are_errors():
    error = tf.errors.InvalidArgumentError
    x = tf.zeros([10])
    with pytest.raises(error, match=r"shape \[10\], got .*\[11\]"):
        functions_block.encode_feedback(
            INT8, [x], [tf.Variable(tf.zeros(11))], seed=SEED, commit=TRUE, residual_scale=ONE
        )
    with pytest.raises(error, match=r"payloads of 10 values, got the shape \[1,1,64\]"):
        functions_block.decode_sum(
            INT8, tf.zeros([1, 1, 64], tf.int32), [tf.TensorShape([10])], initial=ZERO
        )
    with pytest.raises(error, match=r"`seed` must have shape \[2\], got \[3\]"):
        functions_block.encode(INT8, [x], seed=tf.constant([1, 2, 3]))
    with pytest.raises(error, match="no kernel for the format absmax with bits 3, block 256"):
        functions_block.encode(BlockFormat("absmax", 3, 256), [x], seed=SEED)
    with pytest.raises(error, match="no kernel for the format sign with bits 1, block 100"):
        functions_block.encode(BlockFormat("sign", 1, 100), [x], seed=SEED)
