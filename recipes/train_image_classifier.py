"""Train an image classifier: on one device, on all devices of a host, or on many hosts.

    python recipes/train_image_classifier.py --config=configs/image_classifier/default.yaml
    tfdml launch --workers=2 recipes/train_image_classifier.py \\
        --config=configs/image_classifier/multi_worker.yaml --set train.epochs=5

It learns scikit-learn's handwritten digits, or --set data.dataset=tfds:NAME, or a directory or URL
that `tfdml convert` wrote. Copy it, and change what you like: a model is a function in
image_models.py, a setting is a line in a class below.
"""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic import Field

import tfdml
from tfdml.config import (
    Arguments,
    BackupConfig,
    Config,
    ImageDataConfig,
    OptimizerConfig,
    StrategyConfig,
    TrainConfig,
    check_global_batch_size,
    write_provenance,
)
from tfdml.errors import ConfigError


class ModelConfig(Config):
    name: Literal["small_cnn", "resnet18"] = Field(
        default="small_cnn", description="see image_models.py"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="part of the features dropped in training"
    )


class ImageClassifierConfig(Config):
    strategy: StrategyConfig = StrategyConfig()
    data: ImageDataConfig = ImageDataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    backup: BackupConfig = BackupConfig()


def main(config: ImageClassifierConfig, arguments: Arguments) -> None:
    model_file = arguments.model_dir / "model.keras"
    if not arguments.trains and not model_file.exists():
        raise ConfigError(f"{model_file}: no such model. Train it first, with --mode=train.")

    # These load TensorFlow: only now, so that --help and a misspelt setting answer at once.
    import keras
    from image_models import MODELS

    from tfdml.testing.weights import weight_hash

    cluster = tfdml.cluster.resolve()
    if tfdml.cluster.serve(cluster):
        return
    if config.train.deterministic:
        tfdml.determinism.enable(arguments.model_dir)
    strategy = tfdml.strategies.create(
        config.strategy.name, cluster, num_virtual_devices=config.strategy.num_virtual_devices
    )
    global_batch_size = config.train.global_batch_size
    check_global_batch_size(global_batch_size, strategy.num_replicas_in_sync)
    keras.utils.set_random_seed(config.train.seed)
    keras.config.set_dtype_policy(config.train.precision)

    images = tfdml.data.open_images(
        config.data.dataset, data_dir=config.data.data_dir, image_size=config.data.image_size
    )
    augmentation = tfdml.data.ImageAugmentation(**config.data.augment.model_dump())
    train_data = images.training(
        global_batch_size,
        seed=config.train.seed,
        shuffle=config.data.shuffle,
        window_shards=config.data.window_shards,
        augmentation=augmentation,
        cache=config.data.cache,
    )
    # Mixed images have a label for each of their parts, so all labels are vectors then.
    test_data = images.evaluation(global_batch_size, one_hot=augmentation.mixes)
    losses = keras.losses
    loss = (
        losses.CategoricalCrossentropy
        if augmentation.mixes
        else losses.SparseCategoricalCrossentropy
    )

    # What the learning rate follows from.
    sizes = {
        "global_batch_size": global_batch_size,
        "total_steps": config.train.epochs * train_data.steps_per_epoch,
    }
    with strategy.scope():
        build_model = MODELS[config.model.name]
        model = build_model(images.image_shape, images.num_classes, config.model.dropout)
        model.compile(
            optimizer=tfdml.optimizers.from_config(config.optimizer, **sizes),
            loss=loss(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=config.train.steps_per_execution,
        )
    trainer = tfdml.Trainer(model, strategy)

    if arguments.trains:
        if trainer.is_chief:
            write_provenance(arguments.model_dir, config, seed=config.train.seed)
            print(tfdml.optimizers.learning_rate_plan(config.optimizer, **sizes))
        trainer.fit(
            train_data,
            epochs=config.train.epochs,
            validation_data=test_data,
            callbacks=[
                # A job that was killed goes on from here when it is started again, by hand or by --max_restarts.
                tfdml.callbacks.BackupAndRestore(
                    config.backup.directory or arguments.model_dir / "backup",
                    config.backup.save_freq,
                    keep=config.backup.keep,
                    keep_every=config.backup.keep_every,
                ),
                keras.callbacks.TensorBoard(arguments.model_dir, write_graph=False),
                keras.callbacks.CSVLogger(arguments.model_dir / "history.csv"),
            ],
        )
        if trainer.is_chief:
            model.save(model_file)
    else:
        model.load_weights(model_file)

    print(f"final weights sha256: {weight_hash(model)}")
    if trainer.is_chief:
        print(f"see the curves: tensorboard --logdir {shlex.quote(str(arguments.model_dir))}")
    if arguments.evaluates:
        accuracy = trainer.evaluate(test_data)["accuracy"]
        if trainer.is_chief:
            print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    tfdml.config.run(main, ImageClassifierConfig)
