"""Deep gradient compression: momentum before the selection, so that what waits is not applied stale."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdml.collectives.dense import Gradient
from tfdml.collectives.exchange import Exchange
from tfdml.collectives.feedback import RESIDUAL
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import StepContext
from tfdml.compression import TopK
from tfdml.errors import ConfigError
from tfdml.native.functions_block import all_finite

_VELOCITY = "velocity"
_SHARED_VELOCITY = "shared_velocity"


class Dgc:
    """Sends the largest elements of accumulated velocities (Lin et al. 2018, algorithm 4).

    On every replica u = momentum * u + g and v = v + u; the largest elements of v are sent, and both u and v
    start again from zero there (momentum factor masking, section 3.2).

    Args:
        density: the part of the elements that is sent, in (0, 1].
        momentum: in [0, 1).
        clipnorm: limit of the L2 norm of the large gradients, all together, or None. A replica clips its part of
            the sum to the limit over the square root of the number of replicas (section 3.2).
        weight_decay: added to the local gradient as weight_decay * weight, before accumulation.
    """

    min_elements = 1024

    def __init__(
        self,
        density: float,
        momentum: float,
        clipnorm: float | None = None,
        weight_decay: float = 0.0,
    ):
        if not 0 <= momentum < 1:
            raise ConfigError(f"`momentum` must be in [0, 1), got {momentum}. The default is 0.9.")
        if clipnorm is not None and not clipnorm > 0:
            raise ConfigError(
                f"`clipnorm` must be positive, got {clipnorm}. Leave it out for none."
            )
        if not weight_decay >= 0:
            raise ConfigError(f"`weight_decay` must not be negative, got {weight_decay}.")
        self._codec = TopK(density)
        self._momentum = momentum
        self._clipnorm = clipnorm
        self._weight_decay = weight_decay

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create a velocity and a residual for each of `variables`."""
        self._state = state
        for variable in variables:
            state.zeros_like(variable, _VELOCITY)
            state.zeros_like(variable, RESIDUAL)

    def pays(self, shape: Sequence[int]) -> bool:
        return True

    def reduce(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        context: StepContext,
        bucket: int,
    ) -> list[tf.Tensor]:
        share = 1.0 / context.num_replicas
        gradients = [
            gradient + self._weight_decay * share * variable.value
            if self._weight_decay
            else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        if self._clipnorm is not None:
            limit = self._clipnorm * context.num_replicas**-0.5
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        words = self._codec.encode_momentum(
            gradients,
            [self._state.local(variable, _VELOCITY) for variable in variables],
            [self._state.local(variable, RESIDUAL) for variable in variables],
            momentum=tf.constant(self._momentum),
            seed=tf.stack([context.step, context.replica]),
            commit=context.commit,
        )
        payloads = context.group.all_gather(words)
        return self._codec.decode_sum(
            payloads[:, None, :],
            [gradient.shape for gradient in gradients],
            initial=context.initial,
        )

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        elements = sum(tf.TensorShape(shape).num_elements() for shape in shapes)
        return 4 * (num_replicas - 1) * self._codec.payload_words(elements)


class DgcExchange:
    """`exchange`, with the momentum of DGC for what it sends dense too.

    Args:
        exchange: sums gradients; has velocities of its own for the variables that it compresses.
        momentum: as in Dgc.
        weight_decay: as in Dgc.
    """

    has_momentum = True

    def __init__(self, exchange: Exchange, momentum: float, weight_decay: float = 0.0):
        self._exchange = exchange
        self._momentum = momentum
        self._weight_decay = weight_decay

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        self._exchange.build(variables, state)
        self._state = state
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._plain = {
            variable.path
            for variable in variables
            if replicas == 1 or not state.has(variable, _VELOCITY)
        }
        for variable in variables:
            if variable.path in self._plain:
                zeros = np.zeros(variable.shape, tf.as_dtype(variable.dtype).as_numpy_dtype)
                state.copy(variable, _SHARED_VELOCITY, zeros)

    def reduce(
        self,
        gradients: Sequence[Gradient],
        variables: Sequence[keras.Variable],
        *,
        step: tf.Tensor,
        learning_rate: tf.Tensor | None = None,
    ) -> list[Gradient]:
        sums = self._exchange.reduce(gradients, variables, step=step, learning_rate=learning_rate)
        commit = all_finite([tf.convert_to_tensor(total) for total in sums])
        return [
            self._with_momentum(total, variable, commit) if variable.path in self._plain else total
            for total, variable in zip(sums, variables, strict=True)
        ]

    def wire_bytes(self, variables: Sequence[keras.Variable], num_replicas: int, step: int) -> int:
        return self._exchange.wire_bytes(variables, num_replicas, step)

    def _with_momentum(
        self, total: Gradient, variable: keras.Variable, commit: tf.Tensor
    ) -> tf.Tensor:
        slot = self._state.local(variable, _SHARED_VELOCITY)
        before = slot.read_value()
        total = tf.convert_to_tensor(total)
        if self._weight_decay:
            total += tf.cast(self._weight_decay, total.dtype) * variable.value
        velocity = tf.cast(self._momentum, total.dtype) * before + total
        with tf.control_dependencies([before]):
            slot.assign(tf.where(commit, velocity, before))
        return velocity
