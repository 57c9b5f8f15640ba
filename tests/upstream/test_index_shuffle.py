"""D18: the permutation of `index_shuffle` that leaves an order, and for some sizes is none."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.upstream.pinned import still_broken

pytestmark = pytest.mark.upstream


def test_some_sizes_are_not_permuted():
    found = tf.random.experimental.index_shuffle(
        tf.range(65537, dtype=tf.int64), seed=(1, 2), max_index=65536
    )
    missing = 65537 - len(np.unique(found))
    still_broken("D18", "domain_of in tfdml/data/permutation.py", missing > 0)


def test_neighbours_stay_neighbours():
    found = tf.random.experimental.index_shuffle(
        tf.range(100_000, dtype=tf.int64), seed=(1, 2), max_index=999_999
    ).numpy()
    # Of a random permutation 1 / sqrt(100,000) = 0.003.
    correlation = abs(np.corrcoef(found[:-1], found[1:])[0, 1])
    still_broken("D18", "ROUNDS in tfdml/data/permutation.py", correlation > 0.1)
