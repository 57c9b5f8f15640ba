"""The shuffle of the converter: a permutation, random enough, the same for ever."""

from __future__ import annotations

import numpy as np

from tfdml.data.conversion.shuffle import shuffled


def test_it_is_a_permutation():
    for count in (0, 1, 2, 1000):
        assert sorted(shuffled(count, 1, 2).tolist()) == list(range(count))


def test_the_order_belongs_to_the_key():
    orders = {
        tuple(shuffled(20, *key).tolist())
        for key in ((0,), (1,), (0, 0), (0, 1), (1, 0), (1 << 64,))
    }
    assert len(orders) == 6
    # Part of every data set that was ever shuffled: it must not change.
    assert shuffled(10, 7, 1).tolist() == [2, 0, 8, 7, 4, 3, 6, 1, 9, 5]


def test_it_is_random_enough():
    order = shuffled(10_000, 3)
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.03
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.03
