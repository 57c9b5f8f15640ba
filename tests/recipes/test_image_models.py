"""The image models: their sizes, and that they learn under each precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest


def test_resnet18_has_the_parameters_of_the_paper(image_models):
    model = image_models.resnet18((224, 224, 3), 1000, dropout=0.0)
    # 11.69 million, as every other ResNet-18 with 1,000 classes.
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 11_689_512


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (33, 30, 3)])
def test_small_cnn_takes_any_small_image(image_models, image_shape):
    model = image_models.small_cnn(image_shape, 10, dropout=0.1)
    assert model(np.zeros([2, *image_shape], np.float32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["small_cnn", "resnet18"])
def test_logits_stay_float32_and_every_weight_gets_a_gradient(image_models, name):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = image_models.MODELS[name]((8, 8, 1), 3, dropout=0.0)
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).uniform(0, 255, [4, 8, 8, 1]).astype(np.float32)
    labels = np.array([0, 1, 2, 0])
    assert model(images).dtype == "float32"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(images, labels)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), variable.path
