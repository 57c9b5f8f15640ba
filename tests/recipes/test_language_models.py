"""The parts of the language model: the decoder against formulas, drawing of tokens, figures of a training."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.recipes.conftest import load_script

SIZES = {"width": 24, "num_layers": 2, "num_heads": 3, "hidden": 40, "dropout": 0.0}
NUM_TOKENS = 50


@pytest.fixture(scope="module")
def models():
    return load_script("language_models")


@pytest.fixture(scope="module")
def sampling():
    return load_script("language_sampling")


@pytest.fixture(scope="module")
def outputs():
    sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))  # it imports its neighbour
    yield load_script("language_outputs")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def decoder(models):
    keras.utils.set_random_seed(0)
    model = models.decoder(NUM_TOKENS, **SIZES)
    for weight in model.trainable_variables:  # as initialised, almost nothing depends on anything
        weight.assign(np.random.default_rng(0).normal(scale=0.5, size=weight.shape))
    return model


def tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, NUM_TOKENS, shape).astype(np.int32)


def test_a_logit_depends_on_the_tokens_up_to_its_own(decoder):
    before = tokens(2, 9)
    after = before.copy()
    after[:, 5] = (after[:, 5] + 7) % NUM_TOKENS
    first, second = np.asarray(decoder(before)), np.asarray(decoder(after))
    np.testing.assert_array_equal(first[:, :5], second[:, :5])
    changed = np.abs(first - second).max(axis=-1)
    assert np.all(changed[:, 5:] > 1e-3)


def test_sequences_may_have_any_length(decoder):
    whole = tokens(3, 12)
    np.testing.assert_allclose(decoder(whole)[:, :4], decoder(whole[:, :4]), atol=1e-4)


def test_positions_count(decoder):
    """The same two tokens before, in another order: without positions attention could not tell."""
    one, other = np.array([[4, 9, 2]], np.int32), np.array([[9, 4, 2]], np.int32)
    assert np.abs(np.asarray(decoder(one) - decoder(other)))[0, 2].max() > 1e-3


def test_the_number_of_weights(models, decoder):
    width, hidden = SIZES["width"], SIZES["hidden"]
    block = 4 * width * width + 3 * width * hidden + 2 * width
    assert decoder.count_params() == NUM_TOKENS * width + SIZES["num_layers"] * block + width


def test_the_default_has_at_most_five_million_weights(models):
    config = load_script("train_language_model").LanguageModelConfig()
    sizes = config.model.model_dump(exclude={"init_from"})
    assert models.decoder(config.data.vocabulary_size, **sizes).count_params() <= 5_000_000


def test_rotary_positions_are_the_formula(models):
    heads = np.random.default_rng(2).normal(size=[2, 7, 3, 8]).astype(np.float32)
    turned = np.asarray(models.rotate(heads, models.rotations(tokens(2, 7), 8)))
    for position in range(7):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            expected = np.einsum(
                "ij,bhj->bhi", turn, heads[:, position, :, [pair, pair + 4]].transpose(1, 2, 0)
            )
            np.testing.assert_allclose(
                turned[:, position][..., [pair, pair + 4]], expected, atol=1e-5
            )


def test_products_of_turned_vectors_depend_on_their_distance_alone(models):
    turns = models.rotations(tokens(1, 30), 8)
    query, key = np.random.default_rng(3).normal(size=[2, 8])
    everywhere = lambda vector: np.tile(vector.astype(np.float32), [1, 30, 1, 1])
    queries, keys = (np.asarray(models.rotate(everywhere(v), turns))[0, :, 0] for v in (query, key))
    products = queries @ keys.T
    for distance in (0, 3, 11):
        along = np.diagonal(products, distance)
        np.testing.assert_allclose(along, along[0], rtol=1e-3, atol=1e-4)
    assert np.ptp(products[0]) > 0.1


def test_logits_stay_float32_in_mixed_precision(models):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.decoder(NUM_TOKENS, **SIZES)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.output.dtype == "float32"
    assert model.get_layer("layer_0_query").compute_dtype == "bfloat16"
    assert np.all(np.isfinite(model(tokens(1, 300))))


def test_tokens_are_drawn_by_their_likelihood(sampling):
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.4]))

    def drawn(**settings):
        random = np.random.default_rng(0)
        numbers = [sampling.draw(logits, random=random, **settings) for _ in range(4000)]
        return np.bincount(numbers, minlength=4) / 4000

    np.testing.assert_allclose(drawn(temperature=1.0, top_k=None), np.exp(logits), atol=0.03)
    colder = np.exp(logits / 0.5)
    np.testing.assert_allclose(drawn(temperature=0.5, top_k=None), colder / colder.sum(), atol=0.03)
    np.testing.assert_allclose(drawn(temperature=1.0, top_k=2), [0, 0, 3 / 7, 4 / 7], atol=0.03)
    assert drawn(temperature=0.0, top_k=None).tolist() == [0, 0, 0, 1]


def test_samples_are_seeded_and_stop_at_the_end(sampling, decoder):
    def sampled(seed: int, **changes) -> list[int]:
        settings = {"num_tokens": 20, "end": 1, "never": 0, "window": 8, "temperature": 1.0}
        settings |= {"top_k": None, **changes}
        random = np.random.default_rng(seed)
        return list(sampling.sample(decoder, np.array([3, 4]), random=random, **settings))

    assert sampled(1) == sampled(1) != sampled(2)
    greedy = sampled(1, temperature=0.0, num_tokens=12)
    assert greedy == sampled(2, temperature=0.0, num_tokens=12)
    # Each is the likeliest after the last 8 before it.
    so_far = [1, 3, 4]
    for token in greedy:
        logits = np.array(decoder(np.array([so_far[-8:]], np.int32)))[0, -1]
        logits[0] = -np.inf
        assert token == logits.argmax()
        so_far.append(token)
    # The first token that is drawn, as the end of a document.
    assert sampled(1, temperature=0.0, end=greedy[0])[:1] != [greedy[0]]


def test_the_prompt_is_a_text_or_a_file(outputs, tmp_path):
    (tmp_path / "prompt.txt").write_text("from a file\n")
    assert outputs.read_prompt(str(tmp_path / "prompt.txt")) == "from a file\n"
    assert outputs.read_prompt("def main(") == "def main("
    assert outputs.read_prompt("x" * 100_000) == "x" * 100_000
    assert outputs.read_prompt(None) == ""


def test_the_first_execution_does_not_count_for_the_speed(outputs, monkeypatch):
    now = iter([0.0, 50.0, 51.0, 52.0, 100.0, 102.0])
    monkeypatch.setattr(outputs.time, "monotonic", lambda: next(now))
    data = SimpleNamespace(sequence_length=10, bits_per_byte=lambda loss: 2 * loss)
    progress = outputs.TextProgress(data, global_batch_size=4)
    progress.on_epoch_begin(0)
    for batch in (7, 15, 23):  # executions of 8 steps: 50 s with compiling, then 1 s each
        progress.on_train_batch_end(batch)
    logs = {"val_loss": 1.5}
    progress.on_epoch_end(0, logs)
    assert logs == {"val_loss": 1.5, "tokens_per_second": 16 * 40 / 2, "val_bits_per_byte": 3.0}
    progress.on_epoch_begin(1)  # 48 s of validation are not training
    progress.on_train_batch_end(7)
    assert progress.tokens_per_second == 24 * 40 / 4
