"""What the codecs refuse that send a part of the values."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.compression.contract import ONE, SEED, TRUE
from tfdml.compression import RandomK, TopK
from tfdml.errors import ConfigError

codecs = pytest.mark.parametrize("codec", [TopK, RandomK])


@codecs
@pytest.mark.parametrize("density", [0, -0.1, 1.5, np.nan, "dense", True])
def test_a_density_that_is_no_part_is_refused(codec, density):
    with pytest.raises(ConfigError) as caught:
        codec(density)
    assert str(caught.value) == (
        f"`density` of {codec.name} must be above 0 and at most 1, got {density!r}. "
        "0.01 sends one value in a hundred."
    )


@codecs
def test_chunks_are_refused(codec):
    codec, x = codec(), tf.zeros([10])
    residuals, state = [tf.Variable(x)], {"seed": SEED, "commit": TRUE}
    for call in (
        lambda: codec.payload_words(10, chunks=2),
        lambda: codec.chunk_elements(10, 2),
        lambda: codec.encode([x], seed=SEED, chunks=2),
        lambda: codec.encode_feedback([x], residuals, residual_scale=ONE, chunks=2, **state),
        lambda: codec.encode_remainder(x, residuals, tf.constant(0, tf.int64), **state),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == (
            f"{codec.name} has no two-phase form: encoding the sum again would lose what other replicas sent. "
            "Use the one_shot exchange."
        )
