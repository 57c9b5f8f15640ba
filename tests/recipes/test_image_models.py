"""The image models: their sizes, what they take, and that they learn under each precision."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest

from tfdml.errors import ConfigError

SMALL = {"resnet": {"width": 4}, "vit": {"width": 8, "depth": 1, "heads": 2}}


@pytest.fixture(scope="session")
def build(image_classifier):
    def build(name: str, shape: tuple[int, int, int], classes: int = 3, **settings) -> keras.Model:
        from image_models import build_model

        config = image_classifier.ModelConfig.model_validate({"name": name} | settings)
        return build_model(config, shape, classes)

    return build


def parameters(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "count"),
    # With 1,000 classes, as every other implementation of them has.
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)],
)
def test_resnets_have_the_parameters_of_the_paper(build, name, count):
    assert parameters(build(name, (224, 224, 3), 1000)) == count


def test_a_small_stem_keeps_the_size_of_small_images(build):
    def first(shape, stem):
        model = build("resnet18", shape, resnet={"width": 4, "stem": stem})
        return next(layer for layer in model.layers if isinstance(layer, keras.layers.Add)).output

    assert first((8, 8, 1), "auto").shape[1:3] == (8, 8)
    assert first((64, 64, 1), "auto").shape[1:3] == (16, 16)
    assert first((64, 64, 1), "small").shape[1:3] == (64, 64)


def test_vit_knows_where_a_patch_is(build):
    model = build("vit", (4, 6, 1), **SMALL)
    layer = model.get_layer("patches_and_positions")
    assert layer.output.shape[1:] == (6, 8)
    # The patches, row by row.
    image = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)
    patches = keras.Model(model.input, layer.input)(image).numpy()[0]
    pixels = [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11], [12, 13, 18, 19]]
    np.testing.assert_allclose(patches[:4], np.array(pixels) / 127.5 - 1, rtol=1e-6)
    # Without positions it could not tell a mirrored image from the image.
    weights = layer.get_weights()
    model.get_layer("patches_and_positions").set_weights([weights[0], 0 * weights[1]])
    assert weights[1].std() != 0
    shuffled = image[:, :, [2, 3, 0, 1, 4, 5]]
    np.testing.assert_allclose(model(image), model(shuffled), atol=1e-5)
    layer.set_weights([weights[0], 50 * weights[1]])  # as large as after some training
    assert np.abs(model(image) - model(shuffled)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "vit",
            (9, 9, 1),
            r"`model.vit.patch_size` must divide the height and width of the images, 9 x 9 pixels, got 2. "
            r"Use 1, or set data.image_size to a multiple of 2\.",
        ),
        (
            "efficientnet",
            (8, 8, 1),
            r"efficientnet takes images of at least 32 x 32 pixels, got 8 x 8\. Set data.image_size to 32 or more",
        ),
    ],
)
def test_images_of_a_wrong_size_are_refused(build, name, shape, message):
    with pytest.raises(ConfigError, match=message):
        build(name, shape)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("small_cnn", (8, 8, 1)),
        ("small_cnn", (33, 30, 3)),
        ("resnet18", (8, 8, 1)),
        pytest.param("resnet50", (12, 9, 3), marks=pytest.mark.slow),
        ("vit", (8, 8, 1)),
    ],
)
def test_logits_stay_float32_and_every_weight_gets_a_gradient(build, name, shape):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(name, shape, dropout=0.1, **SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).uniform(0, 255, [4, *shape]).astype(np.float32)
    labels = np.array([0, 1, 2, 0])
    assert model(images).dtype == "float32"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(images, labels)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        # The softmax of an attention does not see a bias that all keys share.
        assert np.any(variable.numpy() != old) or "key/bias" in variable.path, variable.path


@pytest.mark.slow
def test_efficientnet_takes_imagenet_weights_as_keras_does(
    build, image_classifier, tmp_path, monkeypatch
):
    from image_models import begin_with_pretrained
    from keras.src.applications import efficientnet as upstream
    from keras.src.legacy.saving import legacy_h5_format

    keras.utils.set_random_seed(0)
    other = keras.applications.EfficientNetB0(include_top=False, weights=None)
    for layer in other.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights(
                [np.array([0.485, 0.456, 0.406]), np.square([0.229, 0.224, 0.225]), np.array(0)]
            )
    file = tmp_path / "efficientnetb0_notop.h5"
    with h5py.File(file, "w") as group:  # as the files that Keras downloads
        legacy_h5_format.save_weights_to_hdf5_group(group, other)
    monkeypatch.setattr(upstream.file_utils, "get_file", lambda *args, **options: str(file))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    theirs = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", input_shape=(32, 32, 3), pooling="avg"
    )
    settings = {"pretrained": True}
    model = build("efficientnet", (32, 32, 3), efficientnet=settings)
    config = image_classifier.ModelConfig(
        name="efficientnet", efficientnet=image_classifier.EfficientNetConfig(**settings)
    )
    begin_with_pretrained(model, config)
    images = np.random.default_rng(0).uniform(0, 255, [2, 32, 32, 3]).astype(np.float32)
    features = keras.Model(model.input, model.get_layer("logits").input)
    np.testing.assert_allclose(features(images), theirs(images), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_weights_that_cannot_be_downloaded_are_one_sentence(
    build, image_classifier, tmp_path, monkeypatch
):
    from image_models import begin_with_pretrained
    from keras.src.utils import file_utils

    def urlretrieve(url: str, *args: object) -> None:
        raise file_utils.urllib.error.URLError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(file_utils, "urlretrieve", urlretrieve)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    settings = {"pretrained": True}
    model = build("efficientnet", (32, 32, 1), efficientnet=settings)
    config = image_classifier.ModelConfig(
        name="efficientnet", efficientnet=image_classifier.EfficientNetConfig(**settings)
    )
    with pytest.raises(ConfigError) as caught:
        begin_with_pretrained(model, config)
    message = str(caught.value)
    assert message.startswith("the ImageNet weights of EfficientNetB0 cannot be had: URL fetch")
    assert "no route to host" in message and f"copy the file into {tmp_path / 'models'}" in message
