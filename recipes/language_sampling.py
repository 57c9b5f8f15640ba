"""Text out of a language model, token by token."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf


def sample(
    model: keras.Model,
    prompt: np.ndarray,
    *,
    num_tokens: int,
    end: int,
    never: int,
    window: int,
    temperature: float,
    top_k: int | None,
    random: np.random.Generator,
) -> Iterator[int]:
    """Tokens that go on after `prompt` (int [n]), at most `num_tokens`, up to the end of the document.

    Args:
        end: the token that ends a document; one stands before the prompt, as in training.
        never: a token that is not drawn: what fills up rows.
        window: how many tokens the model looks back.
        temperature: logits are divided by it; 0 always takes the likeliest.
        top_k: draws from so many of the likeliest only; None from all.
    """

    @tf.function(
        input_signature=[tf.TensorSpec([1, window], tf.int32), tf.TensorSpec([], tf.int32)]
    )
    def logits_after(tokens: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return model(tokens, training=False)[0, last]

    tokens = [end, *map(int, prompt)]
    for _ in range(num_tokens):
        seen = tokens[-window:]
        # What comes behind does not change what is looked at, so that one shape does for all.
        padded = np.full([1, window], end, np.int32)
        padded[0, : len(seen)] = seen
        logits = logits_after(padded, len(seen) - 1).numpy().astype(np.float64)
        logits[never] = -np.inf
        token = draw(logits, temperature=temperature, top_k=top_k, random=random)
        if token == end:
            return
        tokens.append(token)
        yield token


def draw(
    logits: np.ndarray, *, temperature: float, top_k: int | None, random: np.random.Generator
) -> int:
    """A number out of softmax(logits / temperature), float64 [n]; see `sample`."""
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits / temperature
    if top_k is not None and top_k < len(scaled):
        least = np.partition(scaled, -top_k)[-top_k]
        scaled = np.where(scaled >= least, scaled, -np.inf)
    likelihoods = np.exp(scaled - scaled.max())
    return int(random.choice(len(likelihoods), p=likelihoods / likelihoods.sum()))
