"""What is made of a language model: figures while it trains, continuations of a prompt, an answer when served."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from language_sampling import sample

from tfdml.errors import ConfigError
from tfdml.export import Endpoint
from tfdml.runs.table import write_table


class TextProgress(keras.callbacks.Callback):
    """Adds to the logs of an epoch what people compare: `tokens_per_second`, and `val_bits_per_byte`.

    Args:
        data: a `TextDataset`.
        global_batch_size: rows of a step, over all replicas.
    """

    def __init__(self, data: Any, global_batch_size: int):
        super().__init__()
        self._bits_per_byte = data.bits_per_byte
        self._step_tokens = global_batch_size * data.sequence_length
        self._steps, self._seconds = 0, 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of training alone, over all replicas; without the first execution, which compiles."""
        return self._steps * self._step_tokens / self._seconds if self._seconds else float("nan")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._last_time, self._last_step = time.monotonic(), 0
        self._compiles = not self._steps and not self._seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        if not self._compiles:
            self._steps += batch + 1 - self._last_step
            self._seconds += now - self._last_time
        self._last_time, self._last_step, self._compiles = now, batch + 1, False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        logs["tokens_per_second"] = self.tokens_per_second
        if "val_loss" in logs:
            logs["val_bits_per_byte"] = self._bits_per_byte(logs["val_loss"])


def write_continuations(run: Any, model: keras.Model, tokenizer: Any) -> None:
    """Go on after --predict_input as `sampling` says, write a row for each sample, and show the first.

    Raises:
        ConfigError: the prompt is longer than what the model looks back.
    """
    settings, window = run.config.sampling, run.config.data.sequence_length
    prompt = read_prompt(run.arguments.predict_input)
    numbers = tokenizer.encode(prompt.encode())
    if len(numbers) >= window:
        raise ConfigError(
            f"--predict_input has {len(numbers)} tokens, and the model looks back {window}. Give its last part."
        )
    random = np.random.default_rng(run.config.train.seed)
    continuations = [
        tokenizer.decode(
            sample(
                model,
                numbers,
                num_tokens=settings.num_tokens,
                end=tokenizer.end,
                never=tokenizer.pad,
                window=window,
                temperature=settings.temperature,
                top_k=settings.top_k,
                random=random,
            )
        )
        for _ in range(settings.num_samples)
    ]
    file = run.arguments.predict_output or run.model_dir / "predictions.csv"
    columns = {"prompt": [prompt] * len(continuations), "continuation": continuations}
    rows = write_table(file, columns)
    print(f"{prompt}{continuations[0]}")
    print(f"{rows:,} continuations: {file}")


def read_prompt(text: str | None) -> str:
    """What --predict_input says: a text, or a file of it; None is the beginning of a document."""
    if not text:
        return ""
    try:
        file = Path(text).expanduser()
        return file.read_text(encoding="utf-8") if file.is_file() else text
    except OSError:  # too long for the name of a file
        return text


def next_token() -> Endpoint:
    """Tokens int32 [n, length] -> {"probabilities": float32 [n, num_tokens]}, of the token after the last one."""

    def after_the_last(model: keras.Model, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(model(tokens, training=False)[:, -1])}

    return Endpoint(after_the_last, [tf.TensorSpec([None, None], tf.int32, name="tokens")])
