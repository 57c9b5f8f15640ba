"""Data sets of TensorFlow Datasets: TFDS writes one of many kinds of features, and reads it beside us."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.inputs.reading import opened, read
from tfdml.errors import ConfigError, DataError
from tfdml.testing import run_in_process


def write(directory: str) -> None:
    """A data set with nested features, prepared as TFDS prepares it; and what TFDS reads of it."""
    import tensorflow_datasets as tfds

    generator = np.random.default_rng(0)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "text": tfds.features.Text(),
            "x": tfds.features.Tensor(shape=(2, None), dtype=np.float32),
            "d": tfds.features.Tensor(shape=(2,), dtype=np.float64, encoding="bytes"),
            "numbers": tfds.features.Sequence(np.int64),
            "objects": tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "kind": tfds.features.ClassLabel(num_classes=9),
                }
            ),
            "nested": {"a": np.int32, "b": {"c": tfds.features.Text()}},
            "ragged": tfds.features.Sequence(tfds.features.Sequence(np.int64)),
        }
    )
    examples = [
        {
            "image": generator.integers(0, 255, (n + 1, 4, 3), np.uint8),
            "label": n % 2,
            "text": f"Köln {n}",
            "x": generator.normal(size=(2, n)).astype(np.float32),
            "d": generator.normal(size=2),
            "numbers": list(range(n)),
            "objects": [
                {"bbox": tfds.features.BBox(0.0, 0.1, 0.5, 1.0), "kind": k} for k in range(n)
            ],
            "nested": {"a": n, "b": {"c": str(n)}},
            "ragged": [[1], [2, n]],
        }
        for n in range(5)
    ]
    numbered = list(enumerate(examples))
    tfds.dataset_builders.store_as_tfds_dataset(
        name="odd_things",
        version="1.0.0",
        features=features,
        split_datasets={"train": numbered[:3], "test": numbered[3:]},
        data_dir=directory,
        disable_shuffling=True,
    )


def check(directory: str) -> None:
    import tensorflow_datasets as tfds

    with pytest.raises(ConfigError, match=r"the feature 'ragged' .*--drop=ragged"):
        opened("tfds", "odd_things", data_dir=directory)
    source = opened("tfds", "tfds:odd_things:1.0.0", data_dir=directory, drop=("ragged",))
    rows, bad = read(source)
    assert bad == []
    assert source.schema["label"].class_names == ("cat", "dog")
    for split in ("train", "test"):
        wanted = tfds.as_numpy(
            tfds.load(
                "odd_things",
                split=split,
                data_dir=directory,
                decoders={"image": tfds.decode.SkipDecoding()},
            )
        )
        for row, example in zip([r for r in rows if r.split == split], wanted, strict=True):
            flat = {
                **{n: example[n] for n in ("image", "label", "text", "x", "d", "numbers")},
                "objects_bbox": example["objects"]["bbox"],
                "objects_kind": example["objects"]["kind"],
                "nested_a": example["nested"]["a"],
                "nested_b_c": example["nested"]["b"]["c"],
            }
            assert set(row.values) == set(flat)
            for name, value in flat.items():
                np.testing.assert_array_equal(row.values[name], value, err_msg=name)
    with pytest.raises(DataError, match=r"tfds:no_such_set cannot be prepared in .*not found"):
        opened("tfds", "no_such_set", data_dir=directory)


@pytest.mark.slow
def test_any_data_set(tmp_path):
    run_in_process(write, (str(tmp_path),))
    run_in_process(check, (str(tmp_path),))


def test_one_name_is_needed():
    with pytest.raises(ConfigError, match="the name of one data set, such as mnist"):
        opened("tfds")
