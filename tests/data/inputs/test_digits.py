"""The bundled digits as an input: scikit-learn's pixels, and the test split that they have always had."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.data.inputs.reading import opened, read
from tfdml.data.images.splits import stratified_split
from tfdml.errors import ConfigError


def test_pixels_labels_and_split():
    bunch = load_digits()
    rows, bad = read(opened("digits"))
    assert bad == []
    assert [row.values["label"] for row in rows] == bunch.target.tolist()
    for row, image in zip(rows, bunch.images, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(row.values["image"])))
        np.testing.assert_array_equal(pixels, np.rint(image * 255 / 16))
    test = [index for index, row in enumerate(rows) if row.split == "test"]
    assert test == sorted(stratified_split(bunch.target.tolist(), 0.2)[1])
    assert {row.split for row in rows} == {"train", "test"}


def test_input_is_refused():
    with pytest.raises(ConfigError, match="needs no --input"):
        opened("digits", "images/*")
