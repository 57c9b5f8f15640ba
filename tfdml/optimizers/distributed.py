"""The optimizer wrapper that sums gradients first and does everything else to the sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml.collectives import DenseExchange, ReplicaState, resolve_exchange
from tfdml.collectives.dense import DEFAULT_BUCKET_BYTES, Gradient
from tfdml.collectives.feedback import RESIDUAL
from tfdml.collectives.observer import ExchangeObserver
from tfdml.collectives.slices import sum_duplicates
from tfdml.collectives.stats import ExchangeStats
from tfdml.errors import ConfigError
from tfdml.optimizers import keras_private, wrapped
from tfdml.optimizers.asynchronous import AsynchronousUpdate
from tfdml.optimizers.layerwise import check_names
from tfdml.precision.loss_scale import LossScale


@keras.saving.register_keras_serializable(package="tfdml")
class DistributedOptimizer(keras.optimizers.LossScaleOptimizer):
    """Wraps a Keras optimizer so that it is right with any number of replicas.

    Order of one step, on every replica: accumulate, unscale, **sum over replicas**, decide whether the sum
    is finite, then (inside `optimizer`) clip, decay, update, average. Keras does the sum last, so that its
    clipping, loss scaling and accumulation are wrong or fail with more than one replica.

    Works in `tfdml.Trainer`, in a custom `train_step`, and in single-device `model.fit`. It subclasses
    `LossScaleOptimizer` so that `compile` under mixed_float16 does not wrap it once more.

    Args:
        optimizer: any Keras optimizer, constructed in the same strategy scope. Its own `clipvalue`, `clipnorm`,
            `global_clipnorm`, `weight_decay` and EMA settings apply to the sum; its
            `gradient_accumulation_steps`, `ema_overwrite_frequency` and `loss_scale_factor` are taken over.
        compression: how gradients are compressed between replicas: a name ("int8"), or a mapping of a name and
            options ({"name": "topk", "density": 0.01}); see `tfdml.collectives.resolve_exchange`. None is "none".
        loss_scale: "auto" (dynamic when the global dtype policy is mixed_float16, else none), "dynamic",
            None, or a number (static; a power of two keeps it exact). Steps whose summed gradients are not
            finite are skipped on all replicas.
        initial_scale: first dynamic loss scale (Micikevicius et al. 2018, section 3.2).
        dynamic_growth_steps: finite steps in a row after which the dynamic scale doubles.
        min_scale, max_scale: the dynamic scale is not halved below the one, nor doubled above the other.
        max_skipped_steps: with loss scaling, steps skipped in a row after which `check_skipped_steps` fails;
            None is never. `tfdml.Trainer` calls it after every execution.
        exclude_from_weight_decay: names of variables, without their layer's ("bias"), that `optimizer` must not
            decay.
        clipvalue, clipnorm, global_clipnorm: as in Keras, on the sum; only one of them, and not also in
            `optimizer`.
        gradient_accumulation_steps: add up this many micro-batches on each replica, then communicate and
            update once with their mean.
        bucket_bytes: upper limit of one collective, in bytes.
        staleness_damping: on parameter servers, how much less an update counts for each one that came between its
            reading and its making; see `asynchronous.AsynchronousUpdate`.

    On parameter servers there is no sum: every worker pushes its own gradients, which are clipped by themselves, and
    makes its own update (`asynchronous.py`).

    Raises:
        ConfigError: a value that is out of range, or set both here and in `optimizer`.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        *,
        compression: str | Mapping[str, Any] | None = None,
        loss_scale: str | float | None = "auto",
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        min_scale: float = 1.0,
        max_scale: float = 2.0**24,
        max_skipped_steps: int | None = 50,
        exclude_from_weight_decay: Sequence[str] = (),
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        gradient_accumulation_steps: int | None = None,
        bucket_bytes: int = DEFAULT_BUCKET_BYTES,
        staleness_damping: float = 0.0,
        name: str | None = None,
    ):
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ConfigError(
                f"`optimizer` must be a plain Keras optimizer, got {type(optimizer).__name__}. "
                "Pass the optimizer inside it: DistributedOptimizer scales the loss itself."
            )
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ConfigError(
                f"`optimizer` must be a Keras optimizer, got {optimizer!r}. "
                "Pass for example keras.optimizers.AdamW(3e-4)."
            )
        if loss_scale == "auto" and optimizer.loss_scale_factor is not None:
            loss_scale = optimizer.loss_scale_factor
        scaling = LossScale.auto(
            loss_scale,
            initial=initial_scale,
            growth_steps=dynamic_growth_steps,
            floor=min_scale,
            ceiling=max_scale,
            max_skipped_steps=max_skipped_steps,
        )
        super().__init__(
            optimizer,
            initial_scale=scaling.first,
            dynamic_growth_steps=dynamic_growth_steps,
            name=name,
        )
        self._scaling = scaling
        self._undecayed = check_names("exclude_from_weight_decay", exclude_from_weight_decay)
        wrapped.set_clipping(optimizer, clipvalue, clipnorm, global_clipnorm)
        self._accumulation_steps = wrapped.take_over(
            optimizer, "gradient_accumulation_steps", gradient_accumulation_steps
        )
        self._ema_overwrite_frequency = wrapped.take_over(
            optimizer, "ema_overwrite_frequency", None
        )
        self.asynchronous: AsynchronousUpdate | None = None
        if isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy):
            self._refuse_windows(optimizer)
            self.asynchronous = AsynchronousUpdate(
                optimizer, compression, staleness_damping, scales_loss=self._scaling.scales
            )
            compression = None
        self._exchange = resolve_exchange(compression, bucket_bytes)
        if self._exchange.has_momentum:
            wrapped.refuse_momentum(optimizer)
            wrapped.refuse_clipping(optimizer)
        self._own_config = {
            "compression": compression,
            "loss_scale": loss_scale,
            "initial_scale": initial_scale,
            "dynamic_growth_steps": dynamic_growth_steps,
            "min_scale": min_scale,
            "max_scale": max_scale,
            "max_skipped_steps": max_skipped_steps,
            "exclude_from_weight_decay": list(self._undecayed),
            "gradient_accumulation_steps": self._accumulation_steps,
            "bucket_bytes": bucket_bytes,
            "staleness_damping": staleness_damping,
        }
        self.replica_state = ReplicaState()
        self.observer: ExchangeObserver | None = None  # asked while a step is traced
        keras_private.disable_own_reduction(optimizer)

    # -- construction of variables

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create slots and counters for `variables`; call in the strategy's scope."""
        if self._undecayed:
            named = [v for v in variables if v.name in self._undecayed]
            self.inner_optimizer.exclude_from_weight_decay(var_list=named)
        super().build(variables)
        self.skipped_steps = self._counter("skipped_steps")
        self.skipped_in_a_row = self._counter("skipped_in_a_row")
        self._exchange.build(variables, self.replica_state)
        if self._accumulation_steps:
            self._micro_step = self._counter("micro_step")
            for variable in variables:
                self.replica_state.zeros_like(variable, "gradient_accumulator")

    def _counter(self, name: str) -> keras.Variable:
        return self.add_variable(shape=(), dtype="int", aggregation="none", name=name)

    # -- the loss scale

    @property
    def loss_scale(self) -> Any:
        """The factor that the loss is multiplied with: a float32 scalar tensor, or 1.0 without loss scaling."""
        if not self._scaling.scales:
            return 1.0
        return tf.convert_to_tensor(self.dynamic_scale if self.built else self.initial_scale)

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Multiply `loss` with the loss scale."""
        return super().scale_loss(loss) if self._scaling.scales else loss

    def epoch_logs(self) -> dict[str, float]:
        """What there is to say of the steps so far, for the logs of an epoch; the same on every task.

        With a schedule the `learning_rate` of the next update; with loss scaling the `loss_scale` and how many
        `skipped_steps` there were since the optimizer was built.
        """
        logs: dict[str, float] = {}
        if not self.built:
            return logs
        if not isinstance(self.learning_rate, keras.Variable):
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.learning_rate))
        if self._scaling.scales:
            logs["loss_scale"] = float(self.dynamic_scale.numpy())
            logs["skipped_steps"] = float(self.skipped_steps.numpy())
        return logs

    def check_skipped_steps(self) -> None:
        """Fail where `max_skipped_steps` steps in a row were skipped: every task finds the same, without a message.

        Call outside of `tf.function`, after one or more steps.

        Raises:
            TrainingError: says what to try.
        """
        if self._scaling.scales and self.built:
            scale = float(self.dynamic_scale.numpy())
            self._scaling.check_skipped(int(self.skipped_in_a_row.numpy()), scale)

    # -- one step

    def apply(
        self,
        grads: Sequence[Gradient | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Sum `grads` over the replicas and update the variables once; call in replica context.

        Args:
            grads: this replica's gradients of the (scaled) loss, None where there is none.
            trainable_variables: in the same order; default those that the optimizer was built with.
        """
        if tf.distribute.in_cross_replica_context():
            raise ConfigError(
                "DistributedOptimizer.apply must run on a replica, got a call outside `strategy.run`. "
                "Call it in a function that you pass to `strategy.run`, or use tfdml.Trainer."
            )
        if trainable_variables is None:
            trainable_variables = keras_private.trainable_variables(self)
        trainable_variables = list(trainable_variables)
        if not self.built:
            with keras.name_scope(self.name):
                self.build(trainable_variables)
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(grads, trainable_variables, strict=True)
            if gradient is not None
        ]
        if not pairs:
            raise ConfigError(
                "no variable has a gradient (every gradient is None). Check that the loss depends on the "
                "model's trainable variables and that `compile` got a `loss`."
            )
        for gradient, variable in pairs:
            if isinstance(gradient, tf.Tensor):
                gradient.set_shape(variable.shape)  # back-propagation sometimes loses it
        gradients = [self._unscale(gradient) for gradient, _ in pairs]
        variables = [variable for _, variable in pairs]
        if self.asynchronous is not None:
            self.asynchronous.apply(gradients, variables)
            return
        if self._accumulation_steps:
            self._accumulate(gradients, variables)
        else:
            self._reduce_and_update(gradients, variables)

    def _unscale(self, gradient: Gradient) -> Gradient:
        if not self._scaling.scales:
            return gradient
        factor = 1.0 / self.dynamic_scale.value
        if isinstance(gradient, tf.IndexedSlices):
            values = gradient.values * tf.cast(factor, gradient.values.dtype)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return gradient * tf.cast(factor, gradient.dtype)

    def _accumulate(self, gradients: list[Gradient], variables: list[keras.Variable]) -> None:
        """Add to this replica's accumulators; communicate and update at the end of the window only."""
        slots = [
            self.replica_state.zeros_like(variable, "gradient_accumulator")
            for variable in variables
        ]
        for slot, gradient in zip(slots, gradients, strict=True):
            slot.assign_add(tf.convert_to_tensor(gradient))

        def finish_window() -> None:
            steps = self._accumulation_steps
            means = [slot.read_value() / tf.cast(steps, slot.dtype) for slot in slots]
            with tf.control_dependencies(means):
                for slot in slots:
                    slot.assign(tf.zeros_like(slot))
            self._reduce_and_update(means, variables)

        def merge(strategy: tf.distribute.Strategy) -> None:
            self._micro_step.assign_add(1)
            ends = tf.equal(self._micro_step.value % self._accumulation_steps, 0)
            _cond(ends, lambda: strategy.extended.call_for_each_replica(finish_window))

        tf.distribute.get_replica_context().merge_call(merge)

    def _reduce_and_update(
        self, gradients: list[Gradient], variables: list[keras.Variable]
    ) -> None:
        inner = self.inner_optimizer
        if self.observer is not None:
            gradients = self.observer.has_gradients(gradients)
        sums = self._exchange.reduce(
            gradients,
            variables,
            step=inner.iterations.value,
            learning_rate=tf.convert_to_tensor(inner.learning_rate),
        )
        if self.observer is not None:
            sums = self.observer.has_sums(sums, variables)
        # Keras squares what slices hold: a row that is there twice would count a^2 + b^2 for (a + b)^2.
        sums = [sum_duplicates(g) if isinstance(g, tf.IndexedSlices) else g for g in sums]
        if not self._scaling.scales and not self._ema_overwrite_frequency:
            inner.apply(sums, variables)
            return

        # Conditions are taken where all replicas are one: `tf.cond` on a replica cannot hold the merge calls of
        # the update, and masked assignments would still decay the weights of a skipped step.
        def merge(strategy: tf.distribute.Strategy, sums: Any) -> None:
            def update() -> None:
                strategy.extended.call_for_each_replica(
                    lambda sums: inner.apply(sums, variables), args=(sums,)
                )
                self._overwrite_with_average(strategy)
                self._after_finite_step()

            if self._scaling.scales:
                finite = strategy.extended.call_for_each_replica(_all_finite, args=(sums,))
                # Every replica has the same sum, so the first one's answer is everybody's.
                first = strategy.experimental_local_results(finite)[0]
                _cond(first, update, self._after_skipped_step)
            else:
                update()

        tf.distribute.get_replica_context().merge_call(merge, args=(sums,))

    def _overwrite_with_average(self, strategy: tf.distribute.Strategy) -> None:
        if not self._ema_overwrite_frequency:
            return
        inner = self.inner_optimizer

        def overwrite() -> None:
            averages = keras_private.moving_averages(inner)
            for variable, average in zip(
                keras_private.trainable_variables(inner), averages, strict=True
            ):
                if average is not None:
                    strategy.extended.update(
                        variable.value, lambda v, a: v.assign(a), args=(average.value,)
                    )

        due = tf.equal(inner.iterations.value % self._ema_overwrite_frequency, 0)
        _cond(due, overwrite)

    # The rule of `LossScale.after`, in a graph.

    def _after_finite_step(self) -> None:
        if self._scaling.scales:
            self.skipped_in_a_row.assign(0)
        if not self._scaling.dynamic:
            return

        def grow() -> None:
            self.step_counter.assign(0)
            doubled = self.dynamic_scale.value * 2.0
            self.dynamic_scale.assign(tf.minimum(doubled, self._scaling.ceiling))

        due = tf.equal(self.step_counter.value, self._scaling.growth_steps - 1)
        _cond(due, grow, lambda: self.step_counter.assign_add(1))

    def _after_skipped_step(self) -> None:
        self.skipped_steps.assign_add(1)
        self.skipped_in_a_row.assign_add(1)
        if self._scaling.dynamic:
            self.step_counter.assign(0)
            halved = self.dynamic_scale.value * 0.5
            self.dynamic_scale.assign(tf.maximum(halved, self._scaling.floor))

    def count_asynchronous_step(self, finite: bool) -> None:
        """Move the dynamic loss scale on by one step of a worker; on the coordinator, which alone writes it."""
        if finite:
            self._after_finite_step()
        elif self._scaling.scales:
            self._after_skipped_step()
        else:
            self.skipped_steps.assign_add(1)

    def _refuse_windows(self, optimizer: keras.optimizers.Optimizer) -> None:
        for name, value in (
            ("gradient_accumulation_steps", self._accumulation_steps),
            ("use_ema", optimizer.use_ema),
        ):
            if value:
                raise ConfigError(
                    f"`{name}` does not work on parameter servers, got {value!r}: there is no step that all workers "
                    "share. Leave it out."
                )

    # -- what the exchange does

    @property
    def compresses(self) -> bool:
        """Whether gradients travel compressed."""
        return not isinstance(self._exchange, DenseExchange)

    def exchange_stats(self) -> ExchangeStats:
        """Bytes on the wire in the next step, and what waits in the residuals of this task's first replica.

        Call outside of `tf.function`, in cross-replica context, when the optimizer is built.
        """
        variables = keras_private.trainable_variables(self)
        replicas = keras_private.strategy_of(self).num_replicas_in_sync
        step = int(self.iterations.numpy())
        dense = DenseExchange().wire_bytes(variables, replicas, step)
        return ExchangeStats(
            wire_bytes=self._exchange.wire_bytes(variables, replicas, step),
            dense_bytes=dense,
            residual_norm=self.replica_state.norm(RESIDUAL),
        )

    # -- files: the wrapped optimizer's, so that they load where tfdml is not installed

    def save_own_variables(self, store: Any) -> None:
        """Write the wrapped optimizer's variables; loss scale and counters are a checkpoint's business."""
        self.inner_optimizer.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables`, or the plain Keras optimizer, wrote."""
        self.inner_optimizer.load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "optimizer": inner, **self._own_config}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> DistributedOptimizer:
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(
            config.pop("optimizer"), custom_objects=custom_objects
        )
        return cls(inner, **config)


def _cond(
    predicate: tf.Tensor, true_fn: Callable[[], Any], false_fn: Callable[[], Any] | None = None
) -> None:
    """`tf.cond` for side effects: both branches return nothing."""

    def branch(function: Callable[[], Any] | None) -> Callable[[], tf.Tensor]:
        def run() -> tf.Tensor:
            if function is not None:
                function()
            return tf.constant(0)

        return run

    tf.cond(predicate, branch(true_fn), branch(false_fn))


def _all_finite(gradients: Sequence[Gradient]) -> tf.Tensor:
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
