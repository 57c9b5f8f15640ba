"""The sparse codecs: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.native import loader, reference_sparse


def topk(values: Sequence[tf.Tensor], k: int) -> tf.Tensor:
    """The k values of the largest magnitude, the earlier of equal ones: int32 [1, 2k].

    Zeros are not selected: where too few other values are there, entries of index 0 and value 0 come first.
    """
    ops = loader.ops()
    if ops is None:
        return reference_sparse.topk(values, k)
    return ops.tfdml_topk(values=values, k=k)


def topk_feedback(
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    """Select from v = values + residual_scale * residuals; residuals become v, and 0 where selected."""
    ops = loader.ops()
    if ops is None:
        return reference_sparse.topk_feedback(
            values, residuals, k, commit=commit, residual_scale=residual_scale
        )
    return ops.tfdml_topk_feedback(
        values=values,
        residuals=[residual.handle for residual in residuals],
        commit=commit,
        residual_scale=residual_scale,
        k=k,
    )


def topk_momentum(
    values: Sequence[tf.Tensor],
    velocities: Sequence[tf.Variable],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    momentum: tf.Tensor,
    commit: tf.Tensor,
) -> tf.Tensor:
    """u = momentum * u + values; v = v + u; select from v; u and v become 0 where selected.

    u are the velocities, v the residuals.
    """
    ops = loader.ops()
    if ops is None:
        return reference_sparse.topk_momentum(
            values, velocities, residuals, k, momentum=momentum, commit=commit
        )
    return ops.tfdml_topk_momentum(
        values=values,
        velocities=[velocity.handle for velocity in velocities],
        residuals=[residual.handle for residual in residuals],
        commit=commit,
        momentum=momentum,
        k=k,
    )


def sum_indexed(
    words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """`initial` plus the values of all payloads of `topk`, int32 [payloads, 1, 2k], in their order."""
    ops = loader.ops()
    if ops is None:
        return reference_sparse.sum_indexed(words, shapes, initial=initial)
    return ops.tfdml_sum_indexed(words=words, initial=initial, shapes=shapes, n=len(shapes))


def randomk(values: Sequence[tf.Tensor], k: int, *, seed: tf.Tensor, unbiased: bool) -> tf.Tensor:
    """The values at k random positions: int32 [1, 2 + k]. `unbiased`: times the width of their parts."""
    ops = loader.ops()
    if ops is None:
        return reference_sparse.randomk(values, k, seed=seed, unbiased=unbiased)
    return ops.tfdml_randomk(values=values, seed=seed, k=k, unbiased=unbiased)


def randomk_feedback(
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    seed: tf.Tensor,
    unbiased: bool,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    """`randomk` of v = values + residual_scale * residuals; residuals become v minus what is sent."""
    ops = loader.ops()
    if ops is None:
        return reference_sparse.randomk_feedback(
            values,
            residuals,
            k,
            seed=seed,
            unbiased=unbiased,
            commit=commit,
            residual_scale=residual_scale,
        )
    return ops.tfdml_randomk_feedback(
        values=values,
        residuals=[residual.handle for residual in residuals],
        seed=seed,
        commit=commit,
        residual_scale=residual_scale,
        k=k,
        unbiased=unbiased,
    )


def sum_random(
    words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """`initial` plus the values of all payloads of `randomk`, int32 [payloads, 1, 2 + k], in their order."""
    ops = loader.ops()
    if ops is None:
        return reference_sparse.sum_random(words, shapes, initial=initial)
    return ops.tfdml_sum_random(words=words, initial=initial, shapes=shapes, n=len(shapes))
