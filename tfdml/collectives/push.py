"""How a worker hands a gradient to the parameter server that holds the variable.

Encoded on the worker and decoded where the variable is: ops that are placed on a ps run there, and only their inputs
cross the network. What an encoding loses waits on the worker that lost it, in a variable that lives there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdml.collectives.one_shot import OneShot
from tfdml.collectives.resolve import resolve_scheme
from tfdml.compression import Codec
from tfdml.errors import ConfigError

_MIN_ELEMENTS = OneShot.min_elements


class Push:
    """Sends gradients to parameter servers.

    Args:
        codec: how large float32 gradients become a payload; None sends all of them as they are.
        feedback: whether a worker adds what its last encoding lost; None leaves it to the codec.
        start_step: gradients travel as they are before it.
    """

    def __init__(
        self, codec: Codec | None = None, feedback: bool | None = None, start_step: int = 0
    ):
        self._codec = codec
        self._start_step = start_step
        self._feedback = codec is not None and (codec.feedback if feedback is None else feedback)

    @property
    def compresses(self) -> bool:
        return self._codec is not None

    def send(
        self, gradient: tf.Tensor, variable: keras.Variable, *, step: tf.Tensor, salt: int
    ) -> tf.Tensor:
        """`gradient` as the ps gets it, on its device; called on a worker.

        Args:
            step: int64 scalar, steps trained in all; salt: another number for every variable.
        """
        if not self.may_compress(variable):
            return gradient
        if not self._start_step:
            return self._compressed(gradient, variable, step, salt)
        return tf.cond(
            step < self._start_step,
            lambda: gradient,
            lambda: self._compressed(gradient, variable, step, salt),
        )

    def _compressed(
        self, gradient: tf.Tensor, variable: keras.Variable, step: tf.Tensor, salt: int
    ) -> tf.Tensor:
        codec, shape, zero = self._codec, gradient.shape, tf.constant(0.0)
        assert codec is not None
        seed = tf.stack([tf.cast(step, tf.int32), tf.constant(salt)])
        if self._feedback:
            residual = _OnWorker(f"tfdml/residual/{salt}/{variable.path}", shape)
            values = gradient + residual.read()
            words = codec.encode([values], seed=seed)
            (kept,) = codec.decode_sum(words[None], [shape], initial=zero)
            with tf.control_dependencies([residual.assign(values - kept)]):
                words = tf.identity(words)
        else:
            words = codec.encode([gradient], seed=seed)
        with tf.device(variable.value.device):
            (decoded,) = codec.decode_sum(words[None], [shape], initial=zero)
        return decoded

    def wire_bytes(self, variables: list[keras.Variable]) -> int:
        """Bytes that a worker pushes in a step, of dense gradients."""
        return sum(self._bytes_of(variable) for variable in variables)

    def may_compress(self, variable: keras.Variable) -> bool:
        """Small ones cost more to encode than to send."""
        return (
            self._codec is not None
            and variable.dtype == "float32"
            and len(variable.shape) > 1
            and variable.shape.num_elements() >= _MIN_ELEMENTS
        )

    def _bytes_of(self, variable: keras.Variable) -> int:
        number = variable.shape.num_elements()
        if self._codec is not None and self.may_compress(variable):
            return 4 * self._codec.payload_words(number)
        return number * tf.as_dtype(variable.dtype).size


def resolve_push(compression: str | Mapping[str, Any] | None) -> Push:
    """The push that `compression` describes, with the names of `resolve_exchange`.

    Raises:
        ConfigError: an unknown name or option, or one that takes all workers at the same step.
    """
    scheme, start_step = resolve_scheme(compression)
    if scheme is None:
        return Push()
    if not isinstance(scheme, OneShot):
        raise ConfigError(
            f"`compression` {compression!r} adds up what all workers have at the same step, and on parameter servers "
            "every worker is at its own. Use a codec such as 'int8' or 'topk', without an exchange."
        )
    return Push(scheme.codec, scheme.feedback.enabled, start_step)


class _OnWorker:
    """A float32 variable that lives on the worker that runs the step, under `name`; zeros at first."""

    def __init__(self, name: str, shape: tf.TensorShape):
        self._shape = shape
        self._handle = tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=shape, shared_name=name, container=""
        )

    def read(self) -> tf.Tensor:
        def there() -> tf.Tensor:
            return tf.raw_ops.ReadVariableOp(resource=self._handle, dtype=tf.float32)

        is_there = tf.raw_ops.VarIsInitializedOp(resource=self._handle)
        value = tf.cond(is_there, there, lambda: tf.zeros(self._shape))
        return tf.ensure_shape(value, self._shape)

    def assign(self, value: tf.Tensor) -> tf.Operation:
        # After what was read: the new value is computed from it.
        return tf.raw_ops.AssignVariableOp(resource=self._handle, value=value)
