"""Which parameter server gets a variable: the one that holds the fewest bytes.

TensorFlow deals variables out in turn. A model's are kernel, bias, kernel, bias, so of two servers one gets all
kernels, and its network is what every worker waits for.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def place_by_bytes(strategy: tf.distribute.ParameterServerStrategy, num_ps: int) -> None:
    """Let `strategy` put each new variable on the server with the fewest bytes, the first of several."""
    extended = strategy.extended
    create, held = extended._create_variable_round_robin, [0] * num_ps

    def create_on_emptiest(next_creator: Any, **options: Any) -> Any:
        ps = held.index(min(held))
        extended._variable_count = (
            ps  # TensorFlow takes this number modulo the servers, and adds one
        )
        variable = create(next_creator, **options)
        held[ps] += variable.shape.num_elements() * variable.dtype.size
        return variable

    extended._create_variable_round_robin = create_on_emptiest
