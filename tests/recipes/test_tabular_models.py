"""The parts of the tabular recipe: raw rows to numbers, networks, classes that are rare, metrics."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from tests.data.tables.tables import rows, write_csv
from tests.recipes.conftest import load_script
from tfdml.checkpoint import Position
from tfdml.data import Slice, TableSettings, TrainedTable, WindowSettings, open_table
from tfdml.errors import ConfigError

NATURAL = SimpleNamespace(
    sampling="natural", class_weights="none", loss="crossentropy", focal_gamma=2.0
)


def imbalance(**changes):
    return SimpleNamespace(**{**vars(NATURAL), **changes})


@pytest.fixture(scope="module")
def models():
    return load_script("tabular_models")


@pytest.fixture(scope="module")
def exact():
    return load_script("tabular_metrics")


@pytest.fixture(scope="module")
def outputs(models, exact):
    # As the script finds them, beside itself.
    sys.modules.setdefault("tabular_models", models)
    sys.modules.setdefault("tabular_metrics", exact)
    return load_script("tabular_outputs")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("people")
    settings = TableSettings(target="bought", categorical=("floor",))
    return open_table(write_csv(directory / "people.csv", rows()), settings, data_dir=directory)


@pytest.fixture(scope="module")
def table(data):
    return TrainedTable(data.schema, data.facts)


def of_task(table, **changes):
    return TrainedTable(table.schema.__class__(**{**vars(table.schema), **changes}), table.facts)


def columns_of(table, arrays):
    return {column.name: tf.constant(arrays[column.name]) for column in table.schema.columns}


# -- from raw rows to numbers


def test_numbers_are_standardised_and_gaps_are_the_mean_with_an_indicator(models, data, table):
    arrays = data.arrays("train")
    encoded = models.preprocessing(table, [], 10)(columns_of(table, arrays))
    numbers = encoded["numbers"].numpy()
    age, fare = arrays["age"].astype(np.float64), arrays["fare"].astype(np.float64)
    expected = np.nan_to_num((age - np.nanmean(age)) / np.nanstd(age))
    np.testing.assert_allclose(numbers[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(numbers[:, 1], (fare - fare.mean()) / fare.std(), atol=1e-5)
    # Only the age has gaps in training.
    assert numbers.shape[1] == 3 == models.Shapes.of(table, [], 10).numbers
    np.testing.assert_array_equal(numbers[:, 2], np.isnan(age))
    assert 0 < numbers[:, 2].sum() < len(numbers)


def test_categories_are_numbered_by_frequency_and_others_are_missing_or_unknown(models, table):
    known = table.facts.categories["city"]
    cities = np.array([*known, "", "Nowhere"])
    raw = {"age": np.zeros(5), "fare": np.zeros(5), "city": cities, "floor": np.array(["1"] * 5)}
    encoded = models.preprocessing(table, [["city", "floor"]], 50)(
        {name: tf.constant(each) for name, each in raw.items()}
    )
    assert encoded["category_0"].numpy().tolist() == [2, 3, 4, models.MISSING, models.UNKNOWN]
    crosses = encoded["cross_0"].numpy()
    assert len(set(crosses[:3].tolist())) == 3 and (crosses < 50).all()
    shapes = models.Shapes.of(table, [["city", "floor"]], 50)
    assert shapes.categories == (5, 5) and shapes.crosses == (50,)


def test_nothing_of_the_layers_is_trained_or_adapted(models, table):
    assert models.preprocessing(table, [["city", "floor"]], 50).variables == []


def test_a_category_may_be_called_as_keras_calls_the_unknown_ones(models, table):
    facts = dataclasses.replace(
        table.facts, categories={"city": ("[UNK]", "Bonn"), "floor": ("1",)}
    )
    preprocess = models.preprocessing(TrainedTable(table.schema, facts), [], 10)
    cities = np.array(["[UNK]", "Bonn", "Köln"])
    raw = {"age": np.zeros(3), "fare": np.zeros(3), "city": cities, "floor": np.array(["1"] * 3)}
    encoded = preprocess({name: tf.constant(each) for name, each in raw.items()})
    assert encoded["category_0"].numpy().tolist() == [2, 3, models.UNKNOWN]


@pytest.mark.parametrize("pair", [["city"], ["city", "age"]])
def test_a_cross_of_what_is_no_category_lists_those_that_are(models, table, pair):
    with pytest.raises(
        ConfigError, match=r"model.crosses: .* the categorical columns are city, floor"
    ):
        models.preprocessing(table, [pair], 10)


# -- networks


@pytest.mark.parametrize("name", ["mlp", "wide_and_deep"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_logits_stay_float32_and_every_weight_gets_a_gradient(models, data, table, name, precision):
    crosses = [["city", "floor"]] if name == "wide_and_deep" else []
    keras.utils.set_random_seed(0)
    inputs = models.preprocessing(table, crosses, 4)(columns_of(table, data.arrays("train")))
    keras.config.set_dtype_policy(precision)
    try:
        model = models.NETWORKS[name](models.Shapes.of(table, crosses, 4), [16], 0.0, 3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model(inputs).dtype == "float32"
    model.compile(keras.optimizers.SGD(0.5), keras.losses.BinaryCrossentropy(from_logits=True))
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(inputs, data.arrays("train")["bought"][:, None].astype(np.float32))
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), variable.path


def test_the_wide_part_is_a_linear_model_beside_the_deep_one(models, data, table):
    crosses = [["city", "floor"]]
    inputs = models.preprocessing(table, crosses, 4)(columns_of(table, data.arrays("test")))
    model = models.wide_and_deep(models.Shapes.of(table, crosses, 4), [16], 0.0, 3)
    for weight in model.trainable_variables:
        weight.assign(np.random.default_rng(weight.shape[0]).normal(size=weight.shape))
    deep = keras.Model(model.input, model.get_layer("logits").output)
    weights = lambda name: model.get_layer(name).get_weights()[0]
    wide = inputs["numbers"].numpy() @ weights("wide_numbers")
    for kind, count in (("category", 2), ("cross", 1)):
        for n in range(count):
            wide += weights(f"wide_{kind}_{n}")[inputs[f"{kind}_{n}"].numpy()]
    np.testing.assert_allclose(model(inputs), deep(inputs) + wide, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    settings = TableSettings(
        target="failure", windows=WindowSettings("machine", "hour", 12, 24.0, stride=24)
    )
    return open_table("machines", settings, data_dir=tmp_path_factory.mktemp("machines"))


@pytest.mark.parametrize("name", ["mlp", "convolution"])
def test_networks_take_windows(models, windows, name):
    table = TrainedTable(windows.schema, windows.facts)
    inputs = models.preprocessing(table, [], 10)(columns_of(table, windows.arrays()))
    assert inputs["numbers"].shape[1:] == (12, 8) and inputs["category_0"].shape[1:] == (12,)
    model = models.NETWORKS[name](models.Shapes.of(table, [], 10), [8, 8], 0.0, 3)
    assert model(inputs).shape == (len(windows.arrays()["failure"]), 1)


def test_networks_say_what_they_are_for(models, table, windows):
    shapes = models.Shapes.of(table, [], 10)
    with pytest.raises(ConfigError, match="convolution is for windows"):
        models.convolution(shapes, [8], 0.0, 3)
    of_windows = models.Shapes.of(TrainedTable(windows.schema, windows.facts), [], 10)
    with pytest.raises(ConfigError, match="wide_and_deep is for rows"):
        models.wide_and_deep(of_windows, [8], 0.0, 3)


# -- names that a SavedModel takes


def test_names_of_inputs_are_letters_digits_and_differ(models, table):
    names = ["mean area", "mean_area", "Mean-Area", "2nd", "größe", "%"]
    columns = tuple(table.schema.columns[0].__class__(name, "numeric", "numbers") for name in names)
    found = models.input_names(of_task(table, columns=columns))
    assert list(found) == names
    assert list(found.values()) == [
        "mean_area", "mean_area_2", "Mean_Area_3", "column_2nd", "gr_e", "column_"
    ]  # fmt: skip


def test_the_model_of_raw_rows_loads_without_anything_and_answers_the_same(
    models, outputs, data, table, tmp_path
):
    preprocess = models.preprocessing(table, [["city", "floor"]], 20)
    network = models.wide_and_deep(models.Shapes.of(table, [["city", "floor"]], 20), [8], 0.1, 3)
    network.compile("adam", "mse")
    raw = columns_of(table, data.arrays("test"))
    whole = models.with_raw_rows(preprocess, network, table)
    expected = outputs.probabilities(table, network(preprocess(raw)).numpy())
    np.testing.assert_allclose(whole(raw)[:, 0], expected, atol=1e-6)
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    np.testing.assert_array_equal(again(raw), whole(raw))
    # It is a copy.
    network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    np.testing.assert_allclose(whole(raw)[:, 0], expected, atol=1e-6)


# -- classes that are rare


def losses_of(outputs, table, labels, logits, **changes):
    settings = imbalance(**changes)
    loss = outputs.loss_and_metrics(table, settings)["loss"]
    target = outputs.target_of(table, settings)({"bought": tf.constant(labels)})
    loss.reduction = None
    return np.asarray(loss(target, tf.constant(logits, tf.float32)))


def test_focal_loss_counts_what_is_easy_less(outputs, table):
    labels, logits = np.array([1, 1, 0, 0]), np.array([[3.0], [-1.0], [-3.0], [1.0]])
    right = 1 / (1 + np.exp(-logits[:, 0] * [1, 1, -1, -1]))
    plain = losses_of(outputs, table, labels, logits)
    np.testing.assert_allclose(plain, -np.log(right), rtol=1e-4)
    for gamma in (0.0, 2.0, 5.0):
        focal = losses_of(outputs, table, labels, logits, loss="focal", focal_gamma=gamma)
        np.testing.assert_allclose(focal, (1 - right) ** gamma * plain, rtol=1e-4)


def test_focal_loss_of_many_classes_is_the_same_formula(outputs, table):
    many = of_task(table, task="multiclass", classes=("a", "b", "c"))
    labels, logits = np.array([0, 2, 1]), np.random.default_rng(0).normal(size=[3, 3])
    right = outputs.probabilities(many, logits)[np.arange(3), labels]
    focal = losses_of(outputs, many, labels, logits, loss="focal")
    np.testing.assert_allclose(focal, -((1 - right) ** 2) * np.log(right), rtol=1e-4)
    np.testing.assert_allclose(losses_of(outputs, many, labels, logits), -np.log(right), rtol=1e-4)


def test_balanced_weights_give_each_class_as_much(outputs, table):
    assert outputs.class_weights(table, NATURAL) is None
    weights = outputs.class_weights(table, imbalance(class_weights="balanced"))
    counts = table.facts.class_counts
    assert counts[0] != counts[1]
    assert weights[0] * counts[0] == pytest.approx(weights[1] * counts[1])
    assert sum(weights[n] * counts[n] for n in (0, 1)) == pytest.approx(sum(counts))
    assert outputs.class_weights(table, imbalance(class_weights={"yes": 3.0})) == {0: 1.0, 1: 3.0}
    with pytest.raises(ConfigError, match="there is no class 'Yes'; there are no, yes"):
        outputs.class_weights(table, imbalance(class_weights={"Yes": 3.0}))


def test_balanced_sampling_moves_what_a_model_believes_and_weights_do_so_too(
    models, outputs, data, table
):
    """Without any features to speak of, a model learns how often it sees each class: half is yes, or one in five."""

    def believed(balanced: bool, weights) -> float:
        keras.utils.set_random_seed(0)
        bias = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        bias.compile(keras.optimizers.SGD(0.5), keras.losses.BinaryCrossentropy(from_logits=True))
        source = data.training(40, seed=0, balanced=balanced)
        for batch in source.dataset(Position(0, 0, 0), Slice()).take(60):
            y = batch["bought"].numpy()
            weight = None if weights is None else np.array([weights[label] for label in y])
            bias.train_on_batch(np.zeros([len(y), 1]), y[:, None], sample_weight=weight)
        return float(outputs.probabilities(table, bias(np.zeros([1, 1])).numpy())[0])

    share = table.facts.class_counts[1] / table.facts.num_train
    assert 0.1 < share < 0.35
    assert believed(False, None) == pytest.approx(share, abs=0.06)
    assert believed(True, None) == pytest.approx(0.5, abs=0.02)
    evened = outputs.class_weights(table, imbalance(class_weights="balanced"))
    assert believed(False, evened) == pytest.approx(0.5, abs=0.08)


def test_a_number_has_no_classes_to_even_out(outputs, table):
    numbers = of_task(table, task="regression", classes=())
    recipe = load_script("train_tabular").ImbalanceConfig
    assert outputs.loss_and_metrics(numbers, recipe())["metrics"] == []
    with pytest.raises(ConfigError, match=r"imbalance.loss=focal: .* is predicted as a number"):
        outputs.loss_and_metrics(numbers, recipe(loss="focal"))


def test_classes_are_not_evened_out_twice():
    recipe = load_script("train_tabular").ImbalanceConfig
    with pytest.raises(ValueError, match="both balanced, which evens out the classes twice"):
        recipe(sampling="balanced", class_weights="balanced")


# -- metrics


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_scikit_learns_also_with_equal_scores(exact, seed):
    draw = np.random.default_rng(seed)
    labels = (draw.random(200) < 0.2).astype(int)
    scores = np.round(draw.normal(size=200) + labels, seed)  # few digits, many equal ones
    ours = exact.average_precision(labels, scores), exact.roc_auc(labels, scores)
    theirs = (
        sklearn_metrics.average_precision_score(labels, scores),
        sklearn_metrics.roc_auc_score(labels, scores),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    said = exact.at_threshold(labels, scores, 0.5)
    assert said["f1"] == pytest.approx(sklearn_metrics.f1_score(labels, scores >= 0.5))
    assert said["precision"] == pytest.approx(
        sklearn_metrics.precision_score(labels, scores >= 0.5)
    )
    assert said["recall"] == pytest.approx(sklearn_metrics.recall_score(labels, scores >= 0.5))


def test_metrics_of_numbers_and_of_many_classes_are_scikit_learns(exact):
    draw = np.random.default_rng(0)
    targets = draw.normal(5, 2, 100)
    predicted = targets + draw.normal(0, 1, 100)
    found = exact.of_numbers(targets, predicted)
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(targets, predicted))
    assert found["rmse"] ** 2 == pytest.approx(np.mean((targets - predicted) ** 2))
    labels, shares = draw.integers(0, 3, 100), draw.dirichlet([1, 1, 1], 100)
    expected = sklearn_metrics.average_precision_score(np.eye(3)[labels], shares, average="macro")
    assert exact.of_classes(labels, shares)["pr_auc"] == pytest.approx(expected)


def test_one_class_alone_has_no_curve(exact):
    assert np.isnan(exact.average_precision(np.zeros(5, int), np.arange(5.0)))
    assert np.isnan(exact.roc_auc(np.ones(5, int), np.arange(5.0)))
