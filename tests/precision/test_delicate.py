"""What Keras computes in float32 under a mixed policy, what it does not, and what `keep_float32` makes of it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdml import precision

layers = keras.layers
ROUNDING = {
    "mixed_float16": 2.0**-10,
    "mixed_bfloat16": 2.0**-7,
}  # one unit in the last place, of 1
POLICIES = sorted(ROUNDING)


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


def values(layer: keras.Layer, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, and the gradient of their sum with fixed weights."""
    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.cast(layer(x, training=True), "float32")
        weights = np.random.default_rng(1).normal(size=y.shape).astype("float32")
        total = tf.reduce_sum(y * weights)
    return y.numpy(), tape.gradient(total, x).numpy()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0, 1e4])
@pytest.mark.parametrize(
    "make",
    [
        layers.BatchNormalization,
        layers.LayerNormalization,
        layers.RMSNormalization,
        lambda: layers.GroupNormalization(groups=4),
    ],
)
def test_norms_compute_in_float32_inside(policy, scale, make):
    """Squares of 1e4 overflow in float16: these layers do not take them there."""
    dtype = policy.removeprefix("mixed_")
    inputs = np.random.default_rng(0).normal(size=(4, 8, 64)) * scale
    inputs = tf.cast(tf.cast(inputs, dtype), "float32").numpy()
    expected = values(make(), inputs)
    keras.config.set_dtype_policy(policy)
    for value, wanted in zip(values(make(), inputs), expected, strict=True):
        assert np.abs(value - wanted).max() <= ROUNDING[policy] * np.abs(wanted).max()


@pytest.mark.parametrize("policy", POLICIES)
def test_losses_compute_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    logits = tf.constant([[300.0, 0.0]], policy.removeprefix("mixed_"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(np.array([1]), logits)
    assert loss.dtype == tf.float32 and float(loss) == 300.0


def classifier(**kinds) -> keras.Model:
    """Its input is its logits."""
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(3, kernel_initializer="identity", **kinds)(inputs))


def gradient_where_most_wrong(model: keras.Model) -> float:
    """Of the cross-entropy of a wrong answer with all confidence, with regard to its logit; 1 in exact arithmetic."""
    loss = keras.losses.SparseCategoricalCrossentropy()

    @tf.function
    def gradient(logits: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(np.array([1]), model(logits))
        return tape.gradient(value, logits)

    return float(gradient(tf.constant([[20.0, 0.0, 0.0]]))[0, 0])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_softmax_in_16_bits_loses_the_gradient_and_in_float32_does_not(policy):
    assert gradient_where_most_wrong(classifier(activation="softmax")) == pytest.approx(1.0)
    keras.config.set_dtype_policy(policy)
    model = classifier(activation="softmax")
    assert gradient_where_most_wrong(model) == 0.0
    assert precision.keep_float32(model) == [model.layers[-1].name]
    assert gradient_where_most_wrong(model) == pytest.approx(1.0)
    assert precision.delicate_layers(model) == []


def test_squares_that_overflow_in_float16():
    keras.config.set_dtype_policy("mixed_float16")
    inputs = np.full((2, 4), 300.0, "float32")
    model = keras.Sequential([keras.Input((4,)), layers.UnitNormalization()])
    np.testing.assert_array_equal(model(inputs), np.zeros([2, 4]))
    precision.keep_float32(model)
    np.testing.assert_allclose(model(inputs), np.full([2, 4], 0.5), rtol=1e-5)


@pytest.mark.parametrize("adapts", [False, True])
def test_normalization_of_large_numbers(adapts):
    data = np.random.default_rng(0).normal(3000, 1000, size=(100, 4)).astype("float32")
    expected = (data[:5] - data.mean(0)) / data.std(0)
    keras.config.set_dtype_policy("mixed_float16")
    if adapts:
        layer = layers.Normalization()
        layer.adapt(data)
    else:
        layer = layers.Normalization(mean=data.mean(0), variance=data.var(0))
    model = keras.Sequential([keras.Input((4,)), layer])
    before = np.asarray(model(data[:5]), "float32")
    assert np.abs(before - expected).max() > 0.5  # a variance of a million is infinite in float16
    assert precision.keep_float32(model) == [layer.name]
    np.testing.assert_allclose(model(data[:5]), expected, atol=1e-5)


def test_which_layers_are_delicate():
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, activation="sigmoid", name="gate")(inputs)
    hidden = layers.Softmax(name="attention")(hidden)
    hidden = layers.UnitNormalization(name="unit")(hidden)
    outputs = [
        layers.Dense(3, activation="softmax", name="kind")(hidden),
        layers.Activation("sigmoid", name="flag")(hidden),
        layers.Activation("sigmoid", name="kept", dtype="float32")(hidden),
        layers.Dense(3, name="logits")(hidden),
    ]
    model = keras.Model(inputs, outputs)
    nested = keras.Sequential([keras.Input((4,)), keras.Sequential([layers.Softmax(name="last")])])
    assert {layer.name for layer, _ in precision.delicate_layers(model)} == {"unit", "kind", "flag"}
    assert [layer.name for layer, _ in precision.delicate_layers(nested)] == ["last"]


def test_what_is_kept_in_float32_is_in_the_file(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = classifier(activation="softmax")
    precision.keep_float32(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again(np.zeros([1, 3], "float32")).dtype == tf.float32
    assert again.layers[-1].dtype_policy.name == "float32"


def test_the_trainer_warns_of_each(caplog):
    import tfdml

    keras.config.set_dtype_policy("mixed_bfloat16")
    strategy = tfdml.strategies.create("one_device")
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((2,)), layers.Dense(2, activation="softmax", name="kind")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
    tfdml.Trainer(model, strategy)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "tfdml"]
    assert line == (
        "layer 'kind' rounds the model's output, a softmax, to bfloat16: make it with dtype='float32', or call "
        "tfdml.precision.keep_float32(model) before compile"
    )
