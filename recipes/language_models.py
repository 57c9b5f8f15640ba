"""Language models: token numbers, int32 [batch, length] -> logits of each next token, [batch, length, num_tokens].

Made of Keras's own layers and operations alone: a saved model loads wherever Keras is.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import initializers, layers, ops


def decoder(
    num_tokens: int, *, width: int, num_layers: int, num_heads: int, hidden: int, dropout: float
) -> keras.Model:
    """A decoder as Llama (Touvron et al. 2023, section 2.2): rotary positions, RMSNorm before each block, SwiGLU.

    A logit depends on the tokens up to its own and on none after it. Sequences may have any length. The matrix of
    the embeddings is that of the logits, too (Press and Wolf 2017).

    Args:
        num_tokens: size of the vocabulary.
        width: of the stream that all blocks read and add to.
        hidden: units inside of a feed-forward block.
        dropout: part of what each block adds that is dropped in training.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedding = layers.ReversibleEmbedding(
        num_tokens,
        width,
        embeddings_initializer=initializers.RandomNormal(stddev=_STDDEV),
        # Logits stay float32 under mixed precision: a softmax in 16 bits loses small probabilities.
        dtype="float32",
        name="embedding",
    )
    x = embedding(tokens)
    turns = rotations(tokens, width // num_heads)
    # What the blocks add is small in the beginning, however many there are (Radford et al. 2019, section 2.3).
    last = _STDDEV / (2 * num_layers) ** 0.5
    for number in range(num_layers):
        name = f"layer_{number}"
        change = _attention(_norm(x, f"{name}_attention_norm"), turns, num_heads, last, name)
        x = _add(x, change, dropout)
        x = _add(x, _feed_forward(_norm(x, f"{name}_hidden_norm"), hidden, last, name), dropout)
    return keras.Model(tokens, embedding(_norm(x, "final_norm"), reverse=True), name="decoder")


_STDDEV = 0.02
_WAVELENGTHS = 10_000.0  # the longest is 2 pi times this, in tokens


def rotations(tokens, size: int):
    """(cos, sin), float32 [batch, length, 1, size / 2], of the angles by which a head's features are turned.

    Pair i is turned by position / 10000^(2i / size) (Su et al. 2021, section 3.2.2).
    """
    # Counted in float32 also under mixed precision: bfloat16 knows no odd number above 256.
    positions = ops.cumsum(ops.ones_like(tokens, dtype="float32"), axis=1) - 1.0
    frequencies = _WAVELENGTHS ** (-np.arange(size // 2, dtype=np.float32) / (size // 2))
    angles = ops.multiply(ops.expand_dims(positions, axis=(2, 3)), frequencies)
    return ops.cos(angles), ops.sin(angles)


def rotate(heads, turns):
    """Turn pairs of features, of which one is in the first half and one in the second (Su et al. 2021, equation 34).

    The dot product of a turned query with a turned key depends on how far apart they are, not on where they are.

    Args:
        heads: [batch, length, heads, size].
        turns: from `rotations`.
    """
    cos, sin = (ops.cast(part, heads.dtype) for part in turns)
    first, second = ops.split(heads, 2, axis=-1)
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _attention(x, turns, num_heads: int, last: float, name: str):
    width = x.shape[-1]

    def heads(part: str):
        projected = _linear(width, _STDDEV, f"{name}_{part}")(x)
        return layers.Reshape((-1, num_heads, width // num_heads))(projected)

    query, key = rotate(heads("query"), turns), rotate(heads("key"), turns)
    seen = ops.dot_product_attention(query, key, heads("value"), is_causal=True)
    return _linear(width, last, f"{name}_seen")(layers.Reshape((-1, width))(seen))


def _feed_forward(x, hidden: int, last: float, name: str):
    """SwiGLU (Shazeer 2020, equation 6)."""
    gate = layers.Activation("silu")(_linear(hidden, _STDDEV, f"{name}_gate")(x))
    gated = layers.Multiply()([gate, _linear(hidden, _STDDEV, f"{name}_up")(x)])
    return _linear(x.shape[-1], last, f"{name}_down")(gated)


def _linear(units: int, stddev: float, name: str) -> layers.Dense:
    initializer = initializers.RandomNormal(stddev=stddev)
    return layers.Dense(units, use_bias=False, kernel_initializer=initializer, name=name)


def _norm(x, name: str):
    return layers.RMSNormalization(epsilon=1e-5, name=name)(x)


def _add(x, change, dropout: float):
    return layers.Add()([x, layers.Dropout(dropout)(change) if dropout else change])
