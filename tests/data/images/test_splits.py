"""Dividing examples by class."""

from __future__ import annotations

from tfdml.data.images.splits import stratified_split


def test_split_by_class():
    labels = [0] * 10 + [1] * 4 + [0] * 5
    train, test = stratified_split(labels, 0.2)
    assert sorted(train + test) == list(range(19))
    assert test == [4, 9, 18]
    assert stratified_split(labels, 0) == (list(range(19)), [])
