"""The sparse kernels against the same in TensorFlow's own ops, bit by bit."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tfdml.native import build, functions_sparse, loader, reference_sparse

SIZES = [0, 1, 2, 31, 33, 1023, 16_384, 16_385, 100_003, 1_000_003]
SEED = tf.constant([3, -4])
TRUE, FALSE = tf.constant(True), tf.constant(False)
MISLED = 200_000  # Elements of the vector whose sample is misleading.


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """Without native ops these tests would compare the reference with itself."""
    monkeypatch.setenv("TFDML_NATIVE", "require")
    assert loader.ops() is not None


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([size, seed]).normal(size=size).astype("f4")


def heavy(size: int) -> np.ndarray:
    return normal(size, 5) ** 9


def tied(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(-3, 4, size).astype("f4")


def equal(size: int) -> np.ndarray:
    return np.full(size, -2.5, "f4")


def nearly_zero(size: int) -> np.ndarray:
    """Fewer values than are sent; zeros of both signs and subnormal numbers besides."""
    x = np.zeros(size, "f4")
    x[::3] = -0.0
    x[1::3] = 1e-39
    x[5 : min(size, 500) : 97] = 1.5
    return x


def ascending(size: int) -> np.ndarray:
    return np.arange(size, dtype="f4")


def misleading() -> np.ndarray:
    """All values that the kernel looks at first are large: so is the threshold, and too few exceed it."""
    x = normal(MISLED)
    source = (build.SOURCE_DIR / "kernels" / "sparse_topk.cc").read_text()
    sampled = int(re.search(r"kSample = (\d+);", source)[1])
    index = reference_sparse.random_positions(MISLED, sampled, tf.constant([0, 0])).numpy()
    x[index[:1000]] = np.arange(1000, 2000, dtype="f4")
    return x


def parts(x: np.ndarray) -> list[np.ndarray]:
    """Three tensors, the first two of which end where no vector register does."""
    a, b = x.size // 7, x.size // 2
    return [x[:a], x[a:b].reshape(-1, 1), x[b:]]


def constants(x: np.ndarray) -> list[tf.Tensor]:
    return [tf.constant(part) for part in parts(x)]


def variables(x: np.ndarray) -> list[tf.Variable]:
    return [tf.Variable(part) for part in parts(x)]


def count(size: int, density: float) -> int:
    return min(size, int(density * size) + 1)


def assert_same_bits(actual: list, expected: list) -> None:
    for a, b in zip(actual, expected, strict=True):
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [0.001, 0.01, 0.3, 1.0])
def test_topk(size, density):
    values, k = constants(normal(size)), count(size, density)
    words = functions_sparse.topk(values, k)
    assert words.shape == (1, 2 * k)
    assert_same_bits([words], [reference_sparse.topk(values, k)])


@pytest.mark.parametrize("values", [heavy, tied, equal, nearly_zero, ascending])
@pytest.mark.parametrize("size", [100, 70_000])
def test_topk_of_unusual_values(values, size):
    x, k = constants(values(size)), count(size, 0.01)
    assert_same_bits([functions_sparse.topk(x, k)], [reference_sparse.topk(x, k)])


def test_topk_of_values_whose_sample_is_misleading():
    x, residual, k = misleading(), normal(MISLED, 1), 2000
    old = [variables(0 * residual), variables(0 * residual)]
    words = [
        functions.topk_feedback(constants(x), mine, k, commit=TRUE, residual_scale=tf.constant(1.0))
        for functions, mine in zip((functions_sparse, reference_sparse), old, strict=True)
    ]
    assert_same_bits([words[0], *old[0]], [words[1], *old[1]])
    assert_same_bits([functions_sparse.topk(constants(x), k)], words[:1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_topk_feedback(size, scale):
    k, residuals, expected = (
        count(size, 0.01),
        variables(normal(size, 1)),
        variables(normal(size, 1)),
    )
    for step in range(2):
        values = constants(normal(size, 2 + step))
        arguments = {"commit": TRUE, "residual_scale": tf.constant(scale)}
        words = functions_sparse.topk_feedback(values, residuals, k, **arguments)
        assert_same_bits(
            [words, *residuals],
            [reference_sparse.topk_feedback(values, expected, k, **arguments), *expected],
        )


@pytest.mark.parametrize("size", SIZES)
def test_topk_momentum(size):
    k = count(size, 0.01)
    mine = [variables(normal(size, 1)), variables(normal(size, 2))]
    expected = [variables(normal(size, 1)), variables(normal(size, 2))]
    for step in range(2):
        values = constants(normal(size, 3 + step))
        arguments = {"commit": TRUE, "momentum": tf.constant(0.9)}
        words = functions_sparse.topk_momentum(values, *mine, k, **arguments)
        wanted = reference_sparse.topk_momentum(values, *expected, k, **arguments)
        assert_same_bits([words, *mine[0], *mine[1]], [wanted, *expected[0], *expected[1]])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unbiased", [False, True])
def test_randomk(size, unbiased):
    values, k = constants(normal(size)), count(size, 0.013)
    arguments = {"seed": SEED, "unbiased": unbiased}
    words = functions_sparse.randomk(values, k, **arguments)
    assert words.shape == (1, 2 + k)
    assert_same_bits([words], [reference_sparse.randomk(values, k, **arguments)])
    residuals, expected = variables(normal(size, 1)), variables(normal(size, 1))
    arguments |= {"commit": TRUE, "residual_scale": tf.constant(0.37)}
    words = functions_sparse.randomk_feedback(values, residuals, k, **arguments)
    wanted = reference_sparse.randomk_feedback(values, expected, k, **arguments)
    assert_same_bits([words, *residuals], [wanted, *expected])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("initial", [0.0, np.nan])
def test_sums(size, initial):
    xs, k = [constants(normal(size, seed)) for seed in range(3)], count(size, 0.013)
    shapes, start = [x.shape for x in xs[0]], tf.constant(initial)
    words = tf.stack([reference_sparse.topk(x, k) for x in xs])
    assert_same_bits(
        functions_sparse.sum_indexed(words, shapes, initial=start),
        reference_sparse.sum_indexed(words, shapes, initial=start),
    )
    seeds = [SEED, SEED, tf.constant([9, 9])]
    words = tf.stack(
        [
            reference_sparse.randomk(x, k, seed=seed, unbiased=False)
            for x, seed in zip(xs, seeds, strict=True)
        ]
    )
    assert_same_bits(
        functions_sparse.sum_random(words, shapes, initial=start),
        reference_sparse.sum_random(words, shapes, initial=start),
    )


def test_sum_of_payloads_with_entries_without_effect():
    words = tf.stack([reference_sparse.topk([x], 5) for x in (nearly_zero(300), normal(300))])
    shapes, start = [tf.TensorShape([300])], tf.constant(0.0)
    assert_same_bits(
        functions_sparse.sum_indexed(words, shapes, initial=start),
        reference_sparse.sum_indexed(words, shapes, initial=start),
    )


def test_the_reference_computes_the_same_when_compiled():
    values, k, start = constants(normal(10_007)), 101, tf.constant(0.0)
    shapes = [value.shape for value in values]

    def both(values):
        words = reference_sparse.topk(values, k)
        random = reference_sparse.randomk(values, k, seed=SEED, unbiased=True)
        return (
            words,
            random,
            *reference_sparse.sum_indexed(words[None], shapes, initial=start),
            *reference_sparse.sum_random(random[None], shapes, initial=start),
        )

    expected = both(values)
    for jit_compile in (False, True):
        assert_same_bits(tf.function(both, jit_compile=jit_compile)(values), expected)


@pytest.mark.parametrize("name", ["topk_feedback", "randomk_feedback", "topk_momentum"])
def test_a_tensor_that_was_read_before_keeps_its_value(name):
    first, second = variables(normal(1000)), variables(normal(1000, 1))
    seen = [variable.read_value() for variable in (*first, *second)]
    before = [tensor.numpy().tobytes() for tensor in seen]
    states = run(name, first, second, TRUE)
    assert [tensor.numpy().tobytes() for tensor in seen] == before
    changed = [state.numpy().tobytes() for state in states]
    assert all(a != b for a, b in zip(changed, before, strict=False))


@pytest.mark.parametrize("name", ["topk_feedback", "randomk_feedback", "topk_momentum"])
def test_without_commit_no_bit_changes_and_the_payload_can_be_decoded(name):
    old = normal(1000)
    old[::5] = np.nan
    first, second = variables(old), variables(old)
    before = [variable.numpy().tobytes() for variable in first]
    states = run(name, first, second, FALSE)
    assert [state.numpy().tobytes() for state in states] == before * (len(states) // len(before))


def test_variables_that_copy_on_read_are_written_to_as_well():
    residuals, expected = variables(normal(1000)), variables(normal(1000))
    for residual in residuals:
        residual.scatter_nd_add([[0] * residual.shape.rank], [0.0])
    seen = [residual.read_value() for residual in residuals]
    run("topk_feedback", residuals, residuals, TRUE)
    assert_same_bits(seen, expected)
    values = constants(normal(1000, 7))
    arguments = {"commit": TRUE, "residual_scale": tf.constant(1.0)}
    reference_sparse.topk_feedback(values, expected, 10, **arguments)
    assert_same_bits(residuals, expected)


def test_reads_and_writes_keep_their_order_in_a_loop():
    residual = tf.Variable(tf.zeros([100]))
    x = tf.constant(ascending(100))

    @tf.function
    def steps():
        sums = tf.TensorArray(tf.float32, 5)
        for step in tf.range(5):
            functions_sparse.topk_feedback(
                [x], [residual], 10, commit=TRUE, residual_scale=tf.constant(1.0)
            )
            sums = sums.write(step, tf.reduce_sum(residual))
            residual.assign_add(tf.ones([100]))
        return sums.stack()

    expected, sums = np.zeros(100, "f4"), []
    for _ in range(5):
        expected += x.numpy()
        expected[np.lexsort((np.arange(100), -expected))[:10]] = 0
        sums.append(expected.sum())
        expected += 1
    np.testing.assert_array_equal(steps(), sums)


@pytest.mark.parametrize(
    ("index", "message"),
    [([-1, 2], "ascending"), ([1, 4], "below 4"), ([2, 1], "ascending")],
)
def test_a_damaged_payload_is_an_error(index, message):
    words = tf.constant([[[*index, 0, 0]]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        functions_sparse.sum_indexed(words, [tf.TensorShape([4])], initial=tf.constant(0.0))


def test_arguments_that_do_not_fit_are_errors():
    x, one = tf.constant(normal(4)), tf.constant(1.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`k` must be at most 4, got 5"):
        functions_sparse.topk([x], 5)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"shape \[4\], got .*\[5\]"):
        functions_sparse.topk_feedback(
            [x], [tf.Variable(tf.zeros(5))], 1, commit=TRUE, residual_scale=one
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 to 6 words, got 9"):
        functions_sparse.sum_random(
            tf.zeros([1, 1, 9], tf.int32), [tf.TensorShape([4])], initial=one
        )


def run(
    name: str, first: list[tf.Variable], second: list[tf.Variable], commit: tf.Tensor
) -> list[tf.Variable]:
    """Encode 10 of 1000 values, decode, and return the variables that belong to the function `name`."""
    values, start = constants(normal(1000, 7)), tf.constant(0.0)
    shapes = [value.shape for value in values]
    if name == "topk_momentum":
        words = functions_sparse.topk_momentum(
            values, first, second, 10, momentum=tf.constant(0.9), commit=commit
        )
        functions_sparse.sum_indexed(words[None], shapes, initial=start)
        return [*first, *second]
    scale = tf.constant(1.0)
    if name == "topk_feedback":
        words = functions_sparse.topk_feedback(
            values, first, 10, commit=commit, residual_scale=scale
        )
        functions_sparse.sum_indexed(words[None], shapes, initial=start)
    else:
        words = functions_sparse.randomk_feedback(
            values, first, 10, seed=SEED, unbiased=False, commit=commit, residual_scale=scale
        )
        functions_sparse.sum_random(words[None], shapes, initial=start)
    return first
