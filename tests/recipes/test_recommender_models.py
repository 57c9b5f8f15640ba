"""The parts of the recommender: models against formulas, metrics against figures worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.recipes.conftest import load_script


@pytest.fixture(scope="module")
def models():
    return load_script("recommender_models")


@pytest.fixture(scope="module")
def metrics():
    return load_script("recommender_metrics")


@pytest.fixture
def sizes(models):
    return models.Sizes(num_users=9, num_items=7, num_train=40, mean_rating=3.5)


def tables(models, **changes):
    return models.Tables(**{"factors": 4, "l2": 0.0, "max_shard_bytes": 1 << 20, **changes})


def batch(model) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    values = {
        "user": np.array([0, 8, 3, 3]),
        "item": np.array([6, 0, 2, 6]),
        "time": draw.uniform(size=4).astype(np.float32),
        "user_count": np.array([0, 5, 20, 20], np.float32),
        "item_count": np.array([10, 1, 4, 10], np.float32),
    }
    return {name: values[name] for name in model.input}


def test_matrix_factorization_is_the_formula_whatever_the_shards(models, sizes):
    whole = models.matrix_factorization(sizes, tables(models), [])
    for weight in whole.trainable_variables:
        weight.assign(np.random.default_rng(weight.shape[0]).normal(size=weight.shape))
    p, q, b, c = (
        whole.get_layer(f"{n}_table").shards[0].numpy()
        for n in ("user", "item", "user_bias", "item_bias")
    )
    x = batch(whole)
    u, i = x["user"], x["item"]
    expected = 3.5 + b[u, 0] + c[i, 0] + np.sum(p[u] * q[i], axis=1)
    np.testing.assert_allclose(whole(x)[:, 0], expected, rtol=1e-5)
    # Rows of 16 bytes, two a shard.
    cut = models.matrix_factorization(sizes, tables(models, max_shard_bytes=32), [])
    assert len(cut.get_layer("user_table").shards) == 5
    assert cut(x).shape == (4, 1)


def test_the_penalty_is_on_the_rows_of_the_batch(models, sizes):
    model = models.matrix_factorization(sizes, tables(models, l2=0.5), [])
    x = batch(model)
    model(x, training=True)
    p, q = (model.get_layer(f"{name}_table").shards[0].numpy() for name in ("user", "item"))
    squares = np.sum(p[x["user"]] ** 2) + np.sum(q[x["item"]] ** 2)
    assert float(sum(model.losses)) == pytest.approx(0.5 * squares / 4, rel=1e-5)


def test_in_batch_softmax_corrects_popularity_and_leaves_copies_out(models, sizes):
    model = models.two_tower(sizes, tables(models), [8])
    x = batch(model)
    users = model.get_layer("user_tower")(x["user"]).numpy()
    items = model.get_layer("item_tower")(x["item"]).numpy()
    logits = users @ items.T - np.log(x["item_count"] / 40)
    logits[0, 3] = logits[3, 0] = -np.inf  # both are item 6
    expected = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    np.testing.assert_allclose(models.in_batch_softmax(None, model(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["matrix_factorization", "dlrm", "two_tower"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_every_weight_gets_a_gradient_and_results_stay_float32(models, sizes, name, precision):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    try:
        build = (models.RATING_MODELS | models.RETRIEVAL_MODELS)[name]
        model = build(sizes, tables(models, l2=0.01), [8])
    finally:
        keras.config.set_dtype_policy("float32")
    x = batch(model)
    assert model(x).dtype == "float32"
    model.compile(
        keras.optimizers.SGD(0.1), models.in_batch_softmax if name == "two_tower" else "mse"
    )
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(x, np.array([1.0, 2.0, 3.0, 4.0]))
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), variable.path


def test_recall_and_ndcg_of_a_ranking_worked_out_by_hand(metrics):
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5])
    train = {"user": np.array([0, 1]), "item": np.array([0, 4])}
    test = {"user": np.array([0, 0, 1, 0]), "item": np.array([2, 4, 0, 0])}
    # User 0 had item 0, so it is ranked 1, 2, 3, 4: of 2 and 4 the second place is found. User 1: 3, 2; 0 is not.
    recall, ndcg = metrics.rank_all(lambda users: scores[users], train, test, top_k=2)
    second, both = 1 / np.log2(3), 1 + 1 / np.log2(3)
    assert recall == pytest.approx((1 / 2 + 0) / 2)
    assert ndcg == pytest.approx((second / both + 0) / 2)


def test_means_are_those_of_users_and_items(metrics):
    draw = np.random.default_rng(0)
    user, item = draw.integers(0, 30, 4000), draw.integers(0, 20, 4000)
    rating = 3 + draw.normal(size=30)[user] + draw.normal(size=20)[item]
    columns = {"user": user, "item": item, "rating": rating}
    assert metrics.means_rmse(columns, columns, 30, 20) < 0.1 < 1.2 < rating.std()
