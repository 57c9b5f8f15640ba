"""Train a language model: on one device, on all devices of a host, or on many hosts.

    python recipes/train_language_model.py --config=configs/language_model/default.yaml
    tfdml launch --workers=2 recipes/train_language_model.py --config=configs/language_model/multi_worker.yaml
    python recipes/train_language_model.py --config=configs/language_model/default.yaml \\
        --mode=predict --predict_input='import os'

It learns the sources of Python's standard library, or --set data.dataset=DIR, a directory of text. To go on from a
model that is there: --config=runs/language_model/config.yaml --set model.init_from=runs/language_model/model.keras
--set data.dataset=DIR --model_dir=runs/mine. Copy it, and change what you like: the model is a function in
language_models.py, a setting is a line in a class below.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

import tfdml
from tfdml.config import (
    Arguments,
    BackupConfig,
    Config,
    MonitoringConfig,
    OptimizerConfig,
    ScheduleConfig,
    StrategyConfig,
    TrainConfig,
)
from tfdml.shared_files import appears_when_whole

TOKENIZER_FILE = "tokenizer.json"


class TextDataConfig(Config):
    dataset: str = Field(
        default="standard_library",
        min_length=1,
        description="standard_library (Python's sources), or a directory, a pattern or a file of text",
    )
    data_dir: str = Field(
        default="runs/data", min_length=1, description="where tokens and tokenizers are kept"
    )
    tokenizer: Literal["bpe", "bytes"] = Field(
        default="bpe", description="a token is a frequent sequence of bytes, or a byte"
    )
    vocabulary_size: int = Field(default=4096, ge=258, description="tokens of bpe")
    sequence_length: int = Field(default=256, ge=2, description="tokens that the model looks back")
    test_fraction: float = Field(
        default=0.05, gt=0, lt=1, description="part of the documents that is held out, by name"
    )
    split_by: Literal["file", "piece"] = Field(
        default="file", description="what is held out: files, or pieces of them of some 16 KiB"
    )
    on_error: Literal["fail", "skip"] = Field(
        default="fail", description="of a file that is no text: an error, or left out"
    )


class ModelConfig(Config):
    width: int = Field(default=128, ge=2, description="of the stream between the layers")
    num_layers: int = Field(default=4, ge=1, description="of attention and feed-forward each")
    num_heads: int = Field(default=4, ge=1, description="of attention")
    hidden: int = Field(default=384, ge=1, description="units of a feed-forward layer")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="part of what layers add that is dropped in training"
    )
    init_from: str | None = Field(
        default=None,
        min_length=1,
        description="a model.keras to go on from, with its tokenizer.json beside it",
    )

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> ModelConfig:
        unit = 2 * self.num_heads
        if self.width % unit:
            raise ValueError(
                f"width must be a multiple of {unit}, twice num_heads, because features of a head are turned in "
                f"pairs, got {self.width}. Use {-(-self.width // unit) * unit}."
            )
        return self


class LanguageOptimizerConfig(OptimizerConfig):
    learning_rate: float = Field(default=4e-3, gt=0, description="step size; its peak")
    schedule: ScheduleConfig = ScheduleConfig(name="cosine", warmup_fraction=0.1, end=0.05)
    weight_decay: float = Field(
        default=0.1, ge=0, description="fraction of each weight removed per unit of learning rate"
    )
    global_clipnorm: float | None = Field(
        default=1.0, gt=0, description="largest norm of all gradients together"
    )


class LanguageTrainConfig(TrainConfig):
    epochs: int = Field(default=5, ge=1, description="of steps_per_epoch steps each")
    steps_per_epoch: int | None = Field(
        default=200,
        ge=1,
        description="steps between two evaluations; null is one pass over the data",
    )
    global_batch_size: int = Field(default=16, ge=1, description="rows per step, over all replicas")


class SamplingConfig(Config):
    num_samples: int = Field(default=1, ge=1, description="continuations of the prompt")
    num_tokens: int = Field(default=200, ge=1, description="at most, up to a document's end")
    temperature: float = Field(default=0.8, ge=0, description="0 always takes the likeliest token")
    top_k: int | None = Field(
        default=50, ge=1, description="draw from so many of the likeliest tokens; null is from all"
    )


class LanguageModelConfig(Config):
    strategy: StrategyConfig = StrategyConfig()
    data: TextDataConfig = TextDataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: LanguageOptimizerConfig = LanguageOptimizerConfig()
    train: LanguageTrainConfig = LanguageTrainConfig()
    sampling: SamplingConfig = SamplingConfig()
    backup: BackupConfig = BackupConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


def main(config: LanguageModelConfig, arguments: Arguments) -> None:
    run = tfdml.runs.start(config, arguments)
    if run is None:  # this task served the others, and they are done
        return

    # These load TensorFlow: only now, so that --help and a misspelt setting answer at once.
    import keras
    from language_models import decoder
    from language_outputs import TextProgress, next_token, write_continuations

    from tfdml.export.weights import load_weights

    own_tokenizer = arguments.model_dir / TOKENIZER_FILE
    init_from = arguments.trains and config.model.init_from and Path(config.model.init_from)
    if not (arguments.trains or arguments.evaluates):
        text, tokenizer = None, tfdml.data.TextTokenizer.read(own_tokenizer)
    else:
        # A model knows its own tokens only.
        given = None if arguments.trains else own_tokenizer
        text = open_text(config.data, init_from.with_name(TOKENIZER_FILE) if init_from else given)
        tokenizer = text.tokenizer

    with run.strategy.scope():
        model = decoder(tokenizer.num_tokens, **config.model.model_dump(exclude={"init_from"}))
        if init_from:
            load_weights(model, init_from)

    if text is None:
        run.load(model)
        if arguments.predicts and run.is_chief:
            write_continuations(run, model, tokenizer)
        if arguments.exports:
            run.export(
                model,
                endpoints={"next_token": next_token()},
                files={TOKENIZER_FILE: tokenizer.content},
            )
        return

    global_batch_size = config.train.global_batch_size
    train_data = text.training(global_batch_size, seed=config.train.seed)
    test_data = text.evaluation(global_batch_size)
    steps_per_epoch = config.train.steps_per_epoch or train_data.steps_per_epoch
    # What the learning rate follows from.
    sizes = {
        "global_batch_size": global_batch_size,
        "total_steps": config.train.epochs * steps_per_epoch,
    }
    with run.strategy.scope():
        model.compile(
            optimizer=tfdml.optimizers.from_config(config.optimizer, **sizes),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=config.train.steps_per_execution,
            jit_compile=False,  # XLA was slower by a tenth on CPUs, and cannot be with several replicas
        )
    trainer = tfdml.Trainer(model, run.strategy)
    run.describe(
        model,
        data=[text.origin],
        inputs=f"tokens, int32 [n, length], of {TOKENIZER_FILE}; the first of a document is {tokenizer.end}",
        outputs=f"a logit for each of {tokenizer.num_tokens} tokens to be the next one, [n, length, tokens]",
        limits=[
            f"It looks {config.data.sequence_length} tokens back, and was trained on no longer texts.",
            "It goes on as its training data do; whether that is true, safe or somebody's own is not its concern.",
        ],
    )

    if arguments.trains:
        progress = TextProgress(text, global_batch_size)
        if run.is_chief:
            print(tfdml.optimizers.learning_rate_plan(config.optimizer, **sizes))
            print(text.summary())
            with appears_when_whole(own_tokenizer) as file:
                file.write_bytes(tokenizer.content)
        run.fit(
            trainer,
            train_data,
            validation_data=test_data,
            callbacks=[progress],
            monitoring={"tokens_per_example": text.sequence_length},
            steps_per_epoch=config.train.steps_per_epoch,
        )
        if run.is_chief:
            print(f"trained at {progress.tokens_per_second:,.0f} tokens/s")
    else:
        run.load(model)
    if arguments.evaluates:
        loss = run.evaluate(trainer, test_data)["loss"]
        ours, gzip = text.bits_per_byte(loss), text.facts.gzip_bits_per_byte
        run.report({"bits_per_byte": ours}, compared_with={"gzip -9": {"bits_per_byte": gzip}})
        if run.is_chief:
            print(f"held-out bits per byte: {ours:.4f} (gzip -9: {gzip:.4f})")


def open_text(config: TextDataConfig, tokenizer_file: Path | None) -> Any:
    """The text, with the tokenizer of a file, or one that is trained on the training documents."""
    settings = tfdml.data.TextSettings(
        sequence_length=config.sequence_length,
        vocabulary_size=config.vocabulary_size if config.tokenizer == "bpe" else 258,
        tokenizer=tokenizer_file and tfdml.data.TextTokenizer.read(tokenizer_file).content,
        test_fraction=config.test_fraction,
        split_by=config.split_by,
        on_error=config.on_error,
    )
    return tfdml.data.open_text(config.dataset, data_dir=config.data_dir, settings=settings)


if __name__ == "__main__":
    tfdml.config.run(main, LanguageModelConfig)
