"""D19: the state of a tf.data iterator that ends its passes with `concatenate` is restored wrongly."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tests.upstream.pinned import still_broken
from tfdml.checkpoint.iterator_state import iterator_bytes, load_iterator

pytestmark = pytest.mark.upstream

PASS = 7  # six elements and the mark of the end


def make_iterator():
    tf.random.set_seed(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    data = tf.data.Dataset.range(6).shuffle(6, seed=3).filter(lambda element: element >= 0)
    end = tf.data.Dataset.from_tensors(tf.constant(-1, tf.int64))
    return iter(data.concatenate(end).repeat().with_options(options))


def test_a_restored_concatenate_goes_on_with_another_order():
    iterator = make_iterator()
    for _ in range(PASS):
        next(iterator)
    state = iterator_bytes(iterator)
    rest = [int(next(iterator)) for _ in range(PASS)]
    again = make_iterator()
    load_iterator(again, state)
    restored = [int(next(again)) for _ in range(PASS)]
    still_broken("D19", "Stream.has_state in tfdml/training/stream.py", restored != rest)
