"""What every codec must do, as functions of a codec; `tfdml/compression/codec.py` is the contract.

A function asserts. `test_contract.py` calls each of them for the codecs of this package; other codecs can be
given to them too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdml.compression import Codec

SEED = tf.constant([11, -22])
TRUE, FALSE, ONE, ZERO = tf.constant(True), tf.constant(False), tf.constant(1.0), tf.constant(0.0)


def mixed(size: int, seed: int = 0) -> np.ndarray:
    """Float32 values of many magnitudes."""
    generator = np.random.default_rng([size, seed])
    exponents = generator.integers(-4, 4, size=size)
    return (generator.normal(size=size) * 10.0**exponents).astype("f4")


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([size, seed]).normal(size=size).astype("f4")


def parts(x: np.ndarray | tf.Tensor) -> list[tf.Tensor]:
    """Tensors of several shapes, one of them empty, that have `x` as their concatenation."""
    a, b = x.shape[0] // 7, x.shape[0] // 2
    return [tf.convert_to_tensor(part) for part in (x[:a], x[a:a], x[a:b, None], x[b:])]


def variables(x: np.ndarray) -> list[tf.Variable]:
    return [tf.Variable(part) for part in parts(x)]


def flat(tensors: Sequence[tf.Tensor | tf.Variable]) -> np.ndarray:
    return np.concatenate([tensor.numpy().reshape(-1) for tensor in tensors])


def decoded_tensor(codec: Codec, words: tf.Tensor, size: int) -> tf.Tensor:
    """The values of one payload, [chunks, payload_words]."""
    return codec.decode_sum(words[None], [tf.TensorShape([size])], initial=ZERO)[0]


def decode(codec: Codec, words: tf.Tensor, size: int) -> np.ndarray:
    return decoded_tensor(codec, words, size).numpy()


def encode_feedback(
    codec: Codec, x: np.ndarray | tf.Tensor, residuals: list[tf.Variable], *, seed=SEED, commit=TRUE
) -> tf.Tensor:
    return codec.encode_feedback(
        parts(x), residuals, seed=seed, commit=commit, residual_scale=ONE, chunks=1
    )


def sizes_are_as_announced(codec: Codec, size: int, chunks: int) -> None:
    words = codec.encode(parts(mixed(size)), seed=SEED, chunks=chunks)
    assert words.dtype == tf.int32
    assert words.shape == (chunks, codec.payload_words(size, chunks))
    assert codec.chunk_elements(size, chunks) * chunks >= size
    shapes = [part.shape for part in parts(mixed(size))]
    decoded = codec.decode_sum(words[None], shapes, initial=ZERO)
    assert [tensor.shape for tensor in decoded] == shapes
    assert all(tensor.dtype == tf.float32 for tensor in decoded)


def a_list_is_its_concatenation(codec: Codec, size: int) -> None:
    x = mixed(size)
    one, many = variables(np.zeros(size, "f4")), [tf.Variable(np.zeros(size, "f4"))]
    words = codec.encode(parts(x), seed=SEED)
    np.testing.assert_array_equal(words, codec.encode([tf.constant(x)], seed=SEED))
    encode_feedback(codec, x, one)
    codec.encode_feedback(
        [tf.constant(x)], many, seed=SEED, commit=TRUE, residual_scale=ONE, chunks=1
    )
    assert flat(one).tobytes() == flat(many).tobytes()
    shapes = [part.shape for part in parts(x)]
    decoded = codec.decode_sum(words[None], shapes, initial=ZERO)
    np.testing.assert_array_equal(flat(decoded), decode(codec, words, size))


def nothing_is_lost(codec: Codec, size: int, chunks: int = 1, seed: int = 0) -> None:
    """values + scale * old residual = decoded + new residual, up to one rounding of the residual."""
    x, old, scale = mixed(size, seed), mixed(size, seed + 1), np.float32(0.75)
    residuals = variables(old)
    words = codec.encode_feedback(
        parts(x),
        residuals,
        seed=SEED,
        commit=TRUE,
        residual_scale=tf.constant(scale),
        chunks=chunks,
    )
    decoded, new = decode(codec, words, size).astype("f8"), flat(residuals).astype("f8")
    v = (x + scale * old).astype("f8")
    assert (np.abs(decoded + new - v) <= np.spacing(np.abs(v - decoded).astype("f4"))).all()


def sums_telescope(codec: Codec, size: int, steps: int = 100) -> None:
    """What was put in is what came out and what is still kept; in a compiled loop, where codecs live."""
    residuals = variables(np.zeros(size, "f4"))
    given = np.stack([normal(size, step) for step in range(steps)])

    @tf.function
    def exchange(given: tf.Tensor) -> tf.Tensor:
        received = tf.zeros([size], tf.float64)
        for step in tf.range(steps):
            words = encode_feedback(codec, given[step], residuals, seed=tf.stack([step, 1]))
            received += tf.cast(decoded_tensor(codec, words, size), tf.float64)
        return received

    received, kept = exchange(given).numpy(), flat(residuals)
    np.testing.assert_allclose(
        received + kept, given.sum(axis=0, dtype="f8"), atol=1e-4 * (1 + np.abs(kept).max())
    )


def without_commit_no_bit_changes(codec: Codec, size: int) -> None:
    old = mixed(size)
    old[::3] = np.nan
    old[1::3] = -0.0
    old[2::6] = 1e-40
    residuals = variables(old)
    words = encode_feedback(codec, mixed(size, 1), residuals, commit=FALSE)
    assert words.shape == (1, codec.payload_words(size))
    assert flat(residuals).tobytes() == old.tobytes()


def errors_contract(codec: Codec, x: np.ndarray, delta: float) -> None:
    """|x - decoded|**2 <= (1 - delta) * |x|**2: what error feedback needs (Karimireddy et al. 2019)."""
    lost = x.astype("f8") - decode(codec, codec.encode([tf.constant(x)], seed=SEED), x.size)
    assert np.sum(lost**2) <= (1 - delta) * np.sum(x.astype("f8") ** 2) * (1 + 1e-6)


def is_right_on_average(codec: Codec, x: np.ndarray, draws: int = 300) -> None:
    """The mean of many decodings is within 5 standard deviations: of every value, and of all together."""

    @tf.function
    def decode_all(seeds: tf.Tensor) -> tf.Tensor:
        def draw(seed: tf.Tensor) -> tf.Tensor:
            return decoded_tensor(codec, codec.encode([tf.constant(x)], seed=seed), x.size)

        return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(x.shape, tf.float32))

    decodings = decode_all(tf.constant([[i, 5] for i in range(draws)])).numpy().astype("f8")
    errors = decodings.mean(axis=0) - x
    # The largest deviation that values of this range can have; that of a rare event is not seen in its draws.
    widest = np.ptp(decodings, axis=0).max() / 2
    assert widest > 0
    assert np.abs(errors).max() <= 5 * widest / np.sqrt(draws)
    deviation = np.sqrt(decodings.var(axis=0).sum() / draws)
    assert abs(errors.sum()) <= 5 * deviation
    assert (
        abs((errors * np.sign(x)).sum()) <= 5 * deviation
    )  # neither towards zero nor away from it


def payloads_are_added(codec: Codec, size: int) -> None:
    words = [codec.encode([tf.constant(mixed(size, i))], seed=SEED) for i in range(3)]
    total = decode(codec, words[0], size)
    for one in words[1:]:
        total = total + decode(codec, one, size)
    shapes = [part.shape for part in parts(total)]
    np.testing.assert_array_equal(
        flat(codec.decode_sum(tf.stack(words), shapes, initial=ZERO)), total
    )
    unknown = codec.decode_sum(tf.stack(words), shapes, initial=tf.constant(np.nan))
    assert np.isnan(flat(unknown)).all()


def chunks_stand_alone(codec: Codec, size: int, chunks: int) -> None:
    """Each chunk decodes to its own part of the values."""
    words = codec.encode(parts(mixed(size)), seed=SEED, chunks=chunks)
    whole = decode(codec, words, size)
    length = codec.chunk_elements(size, chunks)
    for chunk in range(chunks):
        alone = decode(codec, words[chunk : chunk + 1], length)
        expected = whole[chunk * length : (chunk + 1) * length]
        np.testing.assert_array_equal(alone[: expected.size], expected)


def a_remainder_is_added_to_the_residuals(codec: Codec, size: int, chunks: int) -> None:
    """Chunk by chunk; what lies past the end is dropped, whatever it is."""
    length = codec.chunk_elements(size, chunks)
    old = mixed(size)
    residuals = variables(old)
    for chunk in range(chunks):
        begin = chunk * length
        present = int(np.clip(size - begin, 0, length))
        x = np.full(length, 7.0, "f4")
        x[:present] = mixed(length, chunk + 1)[:present]
        offset = tf.constant(begin, tf.int64)
        before = flat(residuals)
        arguments = {"seed": SEED, "commit": FALSE}
        codec.encode_remainder(tf.constant(x), residuals, offset, **arguments)
        assert flat(residuals).tobytes() == before.tobytes()
        arguments["commit"] = TRUE
        words = codec.encode_remainder(tf.constant(x), residuals, offset, **arguments)
        assert words.shape == (1, codec.payload_words(length))
        decoded = decode(codec, words, length)
        expected = before.copy()
        expected[begin : begin + present] += (x - decoded)[:present]
        assert flat(residuals).tobytes() == expected.tobytes()
