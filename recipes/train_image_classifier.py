"""Train an image classifier: on one device, on all devices of a host, or on many hosts.

    python recipes/train_image_classifier.py --config=configs/image_classifier/default.yaml
    tfdml launch --workers=2 recipes/train_image_classifier.py \\
        --config=configs/image_classifier/multi_worker.yaml --set train.epochs=5

It learns scikit-learn's handwritten digits, or --set data.dataset=tfds:NAME, or a directory or URL
that `tfdml convert` wrote. Copy it, and change what you like: a model is a function in
image_models.py, a setting is a line in a class below.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import tfdml
from tfdml.config import (
    Arguments,
    BackupConfig,
    Config,
    ImageDataConfig,
    MonitoringConfig,
    OptimizerConfig,
    StrategyConfig,
    TrainConfig,
)


class ModelConfig(Config):
    name: Literal["small_cnn", "resnet18"] = Field(
        default="small_cnn", description="see image_models.py"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="part of the features dropped in training"
    )


class EvaluationConfig(Config):
    slice_by: Literal["label"] | None = Field(
        default="label", description="metrics of each part of the test images; null is none"
    )


class ImageClassifierConfig(Config):
    strategy: StrategyConfig = StrategyConfig()
    data: ImageDataConfig = ImageDataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backup: BackupConfig = BackupConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


def main(config: ImageClassifierConfig, arguments: Arguments) -> None:
    run = tfdml.runs.start(config, arguments)
    if run is None:  # this task served the others, and they are done
        return

    # These load TensorFlow: only now, so that --help and a misspelt setting answer at once.
    import keras
    from image_models import MODELS
    from image_outputs import by_label, encoded_images, image_files, images_in, predictions

    global_batch_size = config.train.global_batch_size
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
    with run.strategy.scope():
        build_model = MODELS[config.model.name]
        model = build_model(images.image_shape, images.num_classes, config.model.dropout)
        model.compile(
            optimizer=tfdml.optimizers.from_config(config.optimizer, **sizes),
            loss=loss(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=config.train.steps_per_execution,
        )
    trainer = tfdml.Trainer(model, run.strategy)

    run.describe(
        model,
        data=[images.origin],
        inputs=f"images {list(images.image_shape)}, float32 with values in [0, 255]",
        outputs=f"a logit for each of {images.num_classes} classes: {', '.join(images.class_names)}",
        limits=[
            "It names one of its classes whatever it is shown: an image of none of them gets one, too.",
            "Images must look like those it was trained on, in size, contrast and orientation.",
        ],
    )

    if arguments.trains:
        if run.is_chief:
            print(tfdml.optimizers.learning_rate_plan(config.optimizer, **sizes))
        run.fit(trainer, train_data, validation_data=test_data)
    else:
        run.load(model)
    if arguments.evaluates:
        slices = [by_label(images.class_names)] if config.evaluation.slice_by == "label" else []
        results = run.evaluate(trainer, test_data, slices=slices)
        if run.is_chief:
            print(f"test accuracy: {results['accuracy']:.4f}")
    if arguments.predicts:
        files = arguments.predict_input and image_files(arguments.predict_input)
        data = images_in(files, images, global_batch_size) if files else test_data
        run.predict(trainer, data, predictions(images.class_names, files))
    if arguments.exports:
        run.export(
            model, endpoints={"classify": encoded_images(images.image_shape, images.class_names)}
        )


if __name__ == "__main__":
    tfdml.config.run(main, ImageClassifierConfig)
