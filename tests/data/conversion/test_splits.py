"""Splits by hash: their sizes, what they depend on, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tfdml.data.conversion.splits import Splits, hash_of, hashes_by_class
from tfdml.errors import ConfigError

KEYS = [f"images/{i}.jpg" for i in range(10_000)]


def test_parts_are_as_large_as_asked_for():
    bounds = Splits.parse("train:0.7,validation:0.1,test:0.2").bounds()
    found = [bounds.split_of(key) for key in KEYS]
    for split, part in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert found.count(split) == pytest.approx(part * len(KEYS), rel=0.06)


def test_a_row_stays_where_it_is():
    small, large = (
        Splits.parse("train:0.9,test:0.1").bounds(),
        Splits.parse("train:0.8,test:0.2").bounds(),
    )
    tested = {key for key in KEYS if small.split_of(key) == "test"}
    assert tested < {key for key in KEYS if large.split_of(key) == "test"}
    # The hash is part of every data set that was ever split: it must not change.
    assert hash_of("images/0.jpg") == 0x9B258F30CCEC75E2


def test_of_each_class_exactly_its_part():
    labels = [0] * 100 + [1] * 10 + [2] * 4
    keys = KEYS[: len(labels)]
    hashes = hashes_by_class(zip(keys, labels, strict=True))
    bounds = Splits.parse("train:0.5,test:0.2,dev:0.3", "label").bounds_by_class(hashes)
    counts = {
        label: [
            [
                bounds.split_of(key, label)
                for key, each in zip(keys, labels, strict=True)
                if each == label
            ].count(split)
            for split in ("train", "test", "dev")
        ]
        for label in (0, 1, 2)
    }
    assert counts == {0: [50, 20, 30], 1: [5, 2, 3], 2: [2, 0, 2]}


def test_one_split_takes_all():
    assert {Splits().bounds().split_of(key) for key in KEYS[:100]} == {"train"}
    assert Splits.parse("everything").fractions == {"everything": 1.0}


def test_hashes_of_classes_are_unsigned():
    assert hashes_by_class([("a", 3)])[3].dtype == np.uint64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:0.9,test:0.2", "add up to 1.1"),
        ("train:1.5", r"in \(0, 1\], got 'train:1.5'"),
        ("train:1,test:0", r"in \(0, 1\]"),
        ("train:0.5,train:0.5", "'train' is there twice"),
        ("train:most,test:0.1", "'most' is no number"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Splits.parse(text)
