"""Exported models answer the same in a process that has Keras and TensorFlow, and no tfdml."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.recipes.conftest import load_script
from tfdml.errors import ConfigError
from tfdml.export import Endpoint, export_model, plain
from tfdml.export.plain import foreign_names
from tfdml.layers import ShardedEmbedding

LIMIT = 1e-5
SCRIPT = Path(__file__).with_name("without_tfdml.py")
USERS, ITEMS = 9, 7


def check(*directories: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, SCRIPT, *directories], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for directory, result in found.items():
        assert result["rows"] > 1
        for way in ("keras", "saved_model", "signature"):
            assert result[way] <= LIMIT, (directory, way, result)
    return {Path(directory).name: result for directory, result in found.items()}


def randomise(model: keras.Model) -> None:
    """Weights that are no initial values: those that are 0 or 1 would hide one that is lost."""
    draw = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(np.abs(draw.normal(0.3, 0.1, weight.shape)).astype(np.float32))


def export(model: Any, directory: Path, x: Any, y: Any, endpoints: Any, **given: Any) -> None:
    export_model(model, directory, endpoints=endpoints)
    inputs = {f"x.{name}": value for name, value in (x if isinstance(x, dict) else {"": x}).items()}
    np.savez(directory / "cases.npz", y=np.asarray(y), **inputs, **given)


def image_case(directory: Path) -> dict[str, Any]:
    settings = load_script("train_image_classifier").ModelConfig(dropout=0.2)
    model = load_script("image_models").build_model(settings, (8, 8, 1), 3)
    outputs = load_script("image_outputs")
    randomise(model)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, [4, 8, 8, 1]).astype(np.uint8)
    x = images.astype(np.float32)
    logits = model(x).numpy()
    files = [tf.io.encode_png(image).numpy() for image in images]
    export(
        model,
        directory,
        x,
        logits,
        {"classify": outputs.encoded_images((8, 8, 1), ["a", "b", "c"])},
        **{"classify.x.encoded": np.array(files)},
    )
    return {"class": ["abc"[best] for best in logits.argmax(-1)], "probabilities": softmax(logits)}


def softmax(logits: np.ndarray) -> np.ndarray:
    likelihoods = np.exp(logits - logits.max(-1, keepdims=True))
    return likelihoods / likelihoods.sum(-1, keepdims=True)


def recommender_case(name: str, directory: Path) -> dict[str, Any]:
    models, outputs = load_script("recommender_models"), load_script("recommender_outputs")
    sizes = models.Sizes(num_users=USERS, num_items=ITEMS, num_train=40, mean_rating=3.5)
    # Rows of 16 bytes, two a shard.
    model = (models.RATING_MODELS | models.RETRIEVAL_MODELS)[name](
        sizes, models.Tables(4, 0.01, 32), [5]
    )
    randomise(model)
    retrieves = name == "two_tower"
    facts = SimpleNamespace(
        user_ids=np.arange(USERS) * 10,
        item_ids=np.arange(ITEMS) * 100,
        user_counts=np.arange(USERS),
        item_counts=np.arange(ITEMS),
    )
    user, item = np.array([0, 8, 3, 3]), np.array([6, 0, 2, 6])
    columns = {
        "user": user,
        "item": item,
        "time": np.ones(4, np.float32),
        "user_count": facts.user_counts[user].astype(np.float32),
        "item_count": facts.item_counts[item].astype(np.float32),
    }
    if retrieves:
        x = {"user": user, "item": item}
        users, items = (
            np.asarray(model.get_layer(f"{each}_tower")(x[each])) for each in ("user", "item")
        )
        y = np.sum(users * items, axis=1, keepdims=True)
        given = {"recommend.x.user": facts.user_ids[user]}
    else:
        x = {each: columns[each] for each in model.input}
        y = model(x).numpy()
        given = {
            "rate.x.user": np.append(facts.user_ids[user], 55),
            "rate.x.item": np.append(facts.item_ids[item], 100),
        }
    export(
        outputs.serving_model(model, retrieves),
        directory,
        x,
        y,
        outputs.endpoints(SimpleNamespace(facts=facts), retrieves, 3),
        **given,
    )
    if not retrieves:
        return {"rating": [*y[:, 0].tolist(), np.nan]}
    every_item = np.asarray(model.get_layer("item_tower")(np.arange(ITEMS)))
    scores = users @ every_item.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    return {
        "item": facts.item_ids[best].tolist(),
        "score": np.take_along_axis(scores, best, 1).tolist(),
    }


def test_recipes_answer_the_same_from_keras_and_from_a_saved_model(tmp_path):
    names = ("matrix_factorization", "dlrm", "two_tower")
    expected = {name: recommender_case(name, tmp_path / name) for name in names}
    expected["images"] = image_case(tmp_path / "images")
    found = check(*(tmp_path / name for name in expected))
    answers = {name: found[name]["endpoints"] for name in found}
    for name in ("matrix_factorization", "dlrm"):
        np.testing.assert_allclose(
            answers[name]["rate"]["rating"], expected[name]["rating"], rtol=1e-5
        )
    recommended = answers["two_tower"]["recommend"]
    assert recommended["item"] == expected["two_tower"]["item"]
    np.testing.assert_allclose(recommended["score"], expected["two_tower"]["score"], rtol=1e-5)
    classified = answers["images"]["classify"]
    assert classified["class"] == expected["images"]["class"]
    np.testing.assert_allclose(
        classified["probabilities"], expected["images"]["probabilities"], atol=1e-5
    )


def test_a_layer_of_ones_own_is_refused_by_name(tmp_path):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([keras.Input([3]), Own(), keras.layers.Dense(2)])
    with pytest.raises(ConfigError, match=r"has a part, .*Own, that a process without it cannot"):
        export_model(model, tmp_path / "out")
    sharded = keras.Sequential([keras.Input([], dtype="int64"), ShardedEmbedding(5, 2)])
    with pytest.raises(ConfigError, match=r"ShardedEmbedding, that .* tfdml\.export\.plain repl"):
        export_model(sharded, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    export_model(plain(sharded), tmp_path / "out")
    assert (tmp_path / "out" / "saved_model.pb").exists()


def test_a_failing_export_leaves_nothing(tmp_path):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])

    def breaks(model, x):
        raise ZeroDivisionError

    broken = Endpoint(breaks, [tf.TensorSpec([None, 3], tf.float32, name="x")])
    with pytest.raises(ZeroDivisionError):
        export_model(model, tmp_path / "out", endpoints={"broken": broken})
    assert list(tmp_path.iterdir()) == []


def test_plain_opens_models_within_a_model():
    numbers = keras.Input([], dtype="int64")
    table = ShardedEmbedding(5, 2, max_shard_bytes=16)  # rows of 8 bytes, two a shard
    inner = keras.Model(numbers, keras.layers.Dense(3)(table(numbers)), name="inner")
    model = keras.Model(numbers, keras.layers.Dense(1)(inner(numbers)))
    randomise(model)
    copy = plain(model)
    x = np.arange(5)
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-6)
    assert not list(foreign_names(copy))
    model.layers[-1].set_weights([np.zeros([3, 1]), np.zeros([1])])
    assert np.abs(copy(x)).max() > 0  # the copy has weights of its own
