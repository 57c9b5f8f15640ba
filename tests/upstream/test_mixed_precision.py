"""D21 and D22: what Keras's Lamb decays, and what its losses make of probabilities in 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.upstream.pinned import still_broken
from tfdml.testing import run_in_process

pytestmark = pytest.mark.upstream

RATE, DECAY = 0.1, 0.5


def first_update_of_lamb():
    import keras
    import tensorflow as tf

    variable = keras.Variable(np.array([3.0, -1.0], "float32"))
    optimizer = keras.optimizers.Lamb(RATE, weight_decay=DECAY)
    optimizer.build([variable])
    optimizer.apply([tf.constant([0.2, 0.1])])
    return variable.numpy()


def test_lamb_decays_beside_its_trust_ratio():
    weights = np.array([3.0, -1.0])
    # In the first step Adam's update is the sign of the gradient; You et al. 2020, algorithm 2 adds the decay to it.
    update = np.array([1.0, 1.0]) + DECAY * weights
    paper = weights - RATE * np.linalg.norm(weights) / np.linalg.norm(update) * update
    result = run_in_process(first_update_of_lamb)
    still_broken(
        "D21", "tfdml/optimizers/lamb.py", broken=not np.allclose(result, paper, rtol=1e-4)
    )


def gradients_where_most_wrong():
    """Of the loss with regard to the logit of a wrong answer, computed in each policy."""
    import keras
    import tensorflow as tf

    gradients = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        layer = keras.layers.Softmax()
        loss = keras.losses.SparseCategoricalCrossentropy()

        @tf.function
        def gradient(logits, layer=layer, loss=loss):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(np.array([1]), layer(logits))
            return tape.gradient(value, logits)

        gradients.append(float(gradient(tf.constant([[20.0, 0.0]]))[0, 0]))
    return gradients


def test_a_softmax_in_16_bits_has_no_gradient_where_it_is_most_wrong():
    exact, rounded = run_in_process(gradients_where_most_wrong)
    assert exact == pytest.approx(1.0)
    still_broken("D22", "tfdml/precision/delicate.py", broken=rounded == 0.0)
