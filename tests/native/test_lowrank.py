"""PowerSGD's native ops against the same in TensorFlow's own, and against what the products must be."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfdml.native import functions_lowrank, loader, reference_lowrank

TRUE, FALSE, ONE, ZERO = tf.constant(True), tf.constant(False), tf.constant(1.0), tf.constant(0.0)
RANKS = [1, 2, 4, 5, 9]
# Kernels, matrices with fewer rows or columns than the rank, blocks and vector registers that end anywhere.
SHAPES = [(40, 50), (3, 3, 16, 50), (1, 1), (2, 300), (300, 2), (7,), (257, 1025), (513, 33)]
# What a float32 product may lose: a few roundings of its largest sums.
ROUNDING = 1e-5


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """Without native ops these tests would compare the reference with itself."""
    monkeypatch.setenv("TFDML_NATIVE", "require")
    assert loader.ops() is not None


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng([*shape, seed]).normal(size=shape).astype("f4")


def state(rank: int, shapes=SHAPES, scale: float = 1.0) -> SimpleNamespace:
    return SimpleNamespace(
        rank=rank,
        shapes=[tf.TensorShape(shape) for shape in shapes],
        gradients=[tf.constant(scale * normal(shape, 0)) for shape in shapes],
        residuals=[tf.Variable(scale * normal(shape, 1)) for shape in shapes],
        factors=[tf.Variable(normal((shape[-1], rank), 2)) for shape in shapes],
    )


def step(functions: ModuleType, s: SimpleNamespace, *, commit=TRUE, scale=0.5) -> SimpleNamespace:
    """One exchange of a single replica."""
    products = functions.project(
        s.gradients,
        s.residuals,
        s.factors,
        s.rank,
        commit=commit,
        residual_scale=tf.constant(scale),
    )
    matrices = [residual.read_value() for residual in s.residuals]
    bases = functions.orthogonalise(products, s.shapes, s.rank)
    own = functions.back_project(bases, s.residuals, s.rank, commit=commit)
    functions.keep_factors(own, s.factors, s.shapes, s.rank, commit=commit)
    initial = tf.where(commit, 0.0, np.nan)
    sums = functions.expand(bases, own, s.shapes, s.rank, initial=initial)
    return SimpleNamespace(products=products, matrices=matrices, bases=bases, own=own, sums=sums)


def split(flat: tf.Tensor, heights: list[int], rank: int) -> list[np.ndarray]:
    ends = np.cumsum([height * rank for height in heights])[:-1]
    return [piece.reshape(-1, rank) for piece in np.split(flat.numpy(), ends)]


def heights(shapes) -> list[int]:
    return [reference_lowrank.matrix_shape(shape)[0] for shape in shapes]


def flat(matrix: tf.Tensor) -> np.ndarray:
    return np.asarray(matrix).reshape(-1, matrix.shape[-1]).astype("f8")


def bits(tensors) -> list[bytes]:
    return [tf.convert_to_tensor(tensor).numpy().tobytes() for tensor in tensors]


def assert_close(actual, expected) -> None:
    for a, b in zip(actual, expected, strict=True):
        a, b = tf.convert_to_tensor(a).numpy(), tf.convert_to_tensor(b).numpy()
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(b).max())


@pytest.mark.parametrize("rank", RANKS)
def test_native_and_reference_agree_to_rounding(rank):
    mine, expected = state(rank), state(rank)
    products, wanted = (
        functions.project(
            s.gradients, s.residuals, s.factors, rank, commit=TRUE, residual_scale=tf.constant(0.3)
        )
        for functions, s in ((functions_lowrank, mine), (reference_lowrank, expected))
    )
    # M is an addition, which has one result.
    assert bits(mine.residuals) == bits(expected.residuals)
    assert_close(*(split(flat, heights(SHAPES), rank) for flat in (products, wanted)))
    left = reference_lowrank.orthogonalise(wanted, mine.shapes, rank)
    own = functions_lowrank.back_project(left, mine.residuals, rank, commit=TRUE)
    wanted = reference_lowrank.back_project(left, expected.residuals, rank, commit=TRUE)
    assert_close(*(split(flat, [s[-1] for s in SHAPES], rank) for flat in (own, wanted)))
    for a, b, gradient in zip(mine.residuals, expected.residuals, mine.gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(gradient).max())
    for s, functions in ((mine, functions_lowrank), (expected, reference_lowrank)):
        functions.keep_factors(wanted, s.factors, s.shapes, rank, commit=TRUE)
    assert bits(mine.factors) == bits(expected.factors)


@pytest.mark.parametrize(
    ("rank", "graph"),
    [*((rank, False) for rank in RANKS), (2, True), pytest.param(5, True, marks=pytest.mark.slow)],
)
def test_what_all_replicas_compute_has_the_same_bits_in_the_reference(rank, graph):
    s = state(rank)
    left = tf.concat([normal((height * rank,), rank) for height in heights(SHAPES)], 0)
    right = tf.concat([normal((shape[-1] * rank,), rank) for shape in SHAPES], 0)

    def both(functions):
        def run():
            bases = functions.orthogonalise(left, s.shapes, rank)
            return bases, *functions.expand(bases, right, s.shapes, rank, initial=ZERO)

        return tf.function(run)() if graph else run()

    assert bits(both(functions_lowrank)) == bits(both(reference_lowrank))


@pytest.mark.parametrize(
    ("rank", "scale"), [*((rank, 1.0) for rank in RANKS), (4, 1e-30), (4, 1e15)]
)
@pytest.mark.parametrize("functions", [functions_lowrank, reference_lowrank])
def test_sum_and_residual_are_the_projection_of_the_gradient_and_the_rest(functions, rank, scale):
    s = state(rank, scale=scale)
    old = [flat(residual) for residual in s.residuals]
    result = step(functions, s)
    for number, basis in enumerate(split(result.bases, heights(SHAPES), rank)):
        matrix = flat(s.gradients[number]) + 0.5 * old[number]
        total, residual = flat(result.sums[number]), flat(s.residuals[number])
        basis = basis.astype("f8")
        limit = 1e-6 * np.abs(matrix).max()
        np.testing.assert_allclose(flat(result.matrices[number]), matrix, rtol=0, atol=limit)
        # Of full rank, as far as the matrix goes, and orthonormal.
        gram = basis.T @ basis
        used = min(rank, *matrix.shape)
        np.testing.assert_allclose(gram, np.diag(np.arange(rank) < used), rtol=0, atol=1e-6)
        np.testing.assert_allclose(total + residual, matrix, rtol=0, atol=4 * limit)
        np.testing.assert_allclose(total, basis @ (basis.T @ matrix), rtol=0, atol=40 * limit)
        # A basis of all rows leaves nothing, to rounding.
        if used == matrix.shape[0]:
            assert np.abs(residual).max() < 40 * limit


@pytest.mark.parametrize("functions", [functions_lowrank, reference_lowrank])
def test_columns_that_depend_on_others_become_zero(functions):
    a, b, zero = normal((100,), 0), normal((100,), 1), np.zeros(100, "f4")
    left = np.stack([a, -2 * a, zero, b, a + b, 1e-30 * a], axis=1)
    basis = functions.orthogonalise(tf.constant(left.ravel()), [tf.TensorShape([100, 3])], 6)
    basis = basis.numpy().reshape(100, 6)
    np.testing.assert_allclose(basis.T @ basis, np.diag([1, 0, 0, 1, 0, 0]), rtol=0, atol=1e-6)
    assert not basis[:, [1, 2, 4, 5]].any()


@pytest.mark.parametrize("functions", [functions_lowrank, reference_lowrank])
def test_a_matrix_of_zeros_leaves_the_factor_as_it_is(functions):
    shape = (60, 50)
    s = state(4, [shape])
    s.gradients, s.residuals = [tf.zeros(shape)], [tf.Variable(tf.zeros(shape))]
    before = bits(s.factors)
    result = step(functions, s)
    assert not result.products.numpy().any()
    assert not result.sums[0].numpy().any()
    assert not s.residuals[0].numpy().any()
    assert bits(s.factors) == before


@pytest.mark.parametrize("functions", [functions_lowrank, reference_lowrank])
def test_only_a_column_of_zeros_keeps_its_old_value(functions):
    factor, total = normal((50, 3), 0), normal((50, 3), 1)
    total[:, 1], total[0, 2] = 0, 0
    variable = tf.Variable(factor)
    shapes = [tf.TensorShape([9, 50])]
    functions.keep_factors(tf.constant(total.ravel()), [variable], shapes, 3, commit=TRUE)
    np.testing.assert_array_equal(
        variable, np.stack([total[:, 0], factor[:, 1], total[:, 2]], axis=1)
    )


@pytest.mark.parametrize("functions", [functions_lowrank, reference_lowrank])
def test_without_commit_no_bit_changes_and_all_sums_are_nan(functions):
    s = state(4)
    s.gradients[0] = tf.where(s.gradients[0] > 1, np.nan, s.gradients[0])
    s.residuals[1].assign(tf.where(s.residuals[1] > 1, np.nan, s.residuals[1]))
    before = bits([*s.residuals, *s.factors])
    result = step(functions, s, commit=FALSE)
    assert bits([*s.residuals, *s.factors]) == before
    assert all(np.isnan(total).all() for total in result.sums)


def test_a_tensor_that_was_read_before_keeps_its_value():
    s = state(4)
    variables = [*s.residuals, *s.factors]
    seen = [variable.read_value() for variable in variables]
    before = bits(seen)
    step(functions_lowrank, s)
    assert bits(seen) == before
    changed = bits(variables)
    assert all(a != b for a, b in zip(changed, before, strict=True))


def test_variables_that_copy_on_read_are_written_to_as_well():
    mine, expected = state(4), state(4)
    for variable in (*mine.residuals, *mine.factors):
        variable.scatter_nd_add([[0] * variable.shape.rank], [0.0])
    seen = [residual.read_value() for residual in mine.residuals]
    before = bits(seen)
    for s in (mine, expected):
        step(functions_lowrank, s)
    assert bits(seen) == before
    assert bits([*mine.residuals, *mine.factors]) == bits([*expected.residuals, *expected.factors])


def test_reads_and_writes_keep_their_order_in_a_loop():
    mine, expected = state(2, SHAPES[:2]), state(2, SHAPES[:2])

    @tf.function
    def steps():
        seen = tf.TensorArray(tf.float32, 5)
        for number in tf.range(5):
            step(functions_lowrank, mine)
            seen = seen.write(number, tf.reduce_sum(mine.residuals[0]))
            mine.residuals[0].assign_add(tf.ones(SHAPES[0]))
        return seen.stack()

    sums = []
    for _ in range(5):
        step(functions_lowrank, expected)
        sums.append(tf.reduce_sum(expected.residuals[0]).numpy())
        expected.residuals[0].assign_add(tf.ones(SHAPES[0]))
    np.testing.assert_allclose(steps(), sums, rtol=1e-5, atol=1e-3)
    assert bits([*mine.residuals, *mine.factors]) == bits([*expected.residuals, *expected.factors])


def test_static_shapes():
    s = state(3)
    shapes = {}

    @tf.function
    def trace():
        result = step(functions_lowrank, s)
        shapes.update(left=result.bases.shape, right=result.own.shape, sums=result.sums)
        shapes["sums"] = [total.shape for total in result.sums]

    trace.get_concrete_function()
    assert shapes["left"] == [3 * sum(heights(SHAPES))]
    assert shapes["right"] == [3 * sum(shape[-1] for shape in SHAPES)]
    assert shapes["sums"] == s.shapes


def test_arguments_that_do_not_fit_are_errors():
    s = state(2, [(6, 5), (5, 6)])
    arguments = {"commit": TRUE, "residual_scale": ONE}
    invalid = tf.errors.InvalidArgumentError
    with pytest.raises(invalid, match="`residuals` must be of the sizes"):
        functions_lowrank.project(
            s.gradients, [s.residuals[0], tf.Variable(tf.zeros(7))], s.factors, 2, **arguments
        )
    with pytest.raises(invalid, match="`factors` must be of the sizes"):
        functions_lowrank.project(s.gradients, s.residuals, s.factors[::-1], 2, **arguments)
    with pytest.raises(invalid, match="`bases` must be 22 values, got "):
        functions_lowrank.back_project(tf.zeros(21), s.residuals, 2, commit=TRUE)
    with pytest.raises(invalid, match="`totals` must be 22 values, got "):
        functions_lowrank.expand(tf.zeros(22), tf.zeros(23), s.shapes, 2, initial=ZERO)
    with pytest.raises(invalid, match="at least one dimension"):
        functions_lowrank.orthogonalise(tf.zeros(1), [tf.TensorShape([])], 1)
