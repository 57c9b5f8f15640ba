"""Train an image classifier: on one device, on all devices of a host, or on many hosts.

    python recipes/train_image_classifier.py --config=configs/image_classifier/default.yaml
    tfdml launch --workers=2 recipes/train_image_classifier.py \\
        --config=configs/image_classifier/multi_worker.yaml --set train.epochs=5

It learns scikit-learn's handwritten digits, or --set data.dataset=tfds:NAME, or a directory or URL
that `tfdml convert` wrote. Copy it, and change what you like: a model is a function in
image_models.py, a setting is a line in a class below.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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


class ResNetConfig(Config):
    width: int = Field(
        default=64, ge=1, description="filters of the first stage; 64 is the paper's"
    )
    stem: Literal["auto", "small", "large"] = Field(
        default="auto",
        description="small: one 3x3 convolution; large: the paper's, which halves twice; auto: small under 64 pixels",
    )
    synchronized_batch_norm: bool = Field(
        default=False, description="statistics of the global batch, not of each replica's part"
    )


class ViTConfig(Config):
    patch_size: int = Field(default=2, ge=1, description="pixels; 16 is usual for photographs")
    width: int = Field(default=64, ge=1, description="numbers that stand for a patch")
    depth: int = Field(default=4, ge=1, description="blocks")
    heads: int = Field(default=4, ge=1, description="of the attention; width is a multiple of it")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> ViTConfig:
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, got {self.width} and {self.heads}."
            )
        return self


class EfficientNetConfig(Config):
    variant: Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"] = Field(
        default="B0", description="from small to large"
    )
    pretrained: bool = Field(
        default=False, description="training begins with ImageNet's weights, which Keras downloads"
    )


class ModelConfig(Config):
    name: Literal["small_cnn", "resnet18", "resnet34", "resnet50", "vit", "efficientnet"] = Field(
        default="small_cnn", description="see image_models.py"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="part of the features dropped in training"
    )
    resnet: ResNetConfig = ResNetConfig()
    vit: ViTConfig = ViTConfig()
    efficientnet: EfficientNetConfig = EfficientNetConfig()


class ImageOptimizerConfig(OptimizerConfig):
    ema_momentum: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="evaluate and keep moving averages of the weights: 0.99 of some 100 updates; null: the weights",
    )


class ImageTrainConfig(TrainConfig):
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="part of each label that all classes share; usual 0.1"
    )


class EvaluationConfig(Config):
    slice_by: Literal["label"] | None = Field(
        default="label", description="metrics of each part of the test images; null is none"
    )
    corruptions: list[Literal["noise", "blur", "brightness"]] = Field(
        default=[], description="accuracy on test images that are changed so, too"
    )
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field(
        default=[1, 2, 3, 4, 5], min_length=1, description="how much they are changed, 1 to 5"
    )

    @model_validator(mode="after")
    def _names_each_once(self) -> EvaluationConfig:
        for name in ("corruptions", "severities"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must name each once, got {values}.")
        return self


class ImageClassifierConfig(Config):
    strategy: StrategyConfig = StrategyConfig()
    data: ImageDataConfig = ImageDataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: ImageOptimizerConfig = ImageOptimizerConfig()
    train: ImageTrainConfig = ImageTrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backup: BackupConfig = BackupConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


def main(config: ImageClassifierConfig, arguments: Arguments) -> None:
    run = tfdml.runs.start(config, arguments)
    if run is None:  # this task served the others, and they are done
        return

    # These load TensorFlow: only now, so that --help and a misspelt setting answer at once.
    import image_corruptions as corruptions
    import keras
    from image_models import begin_with_pretrained, build_model
    from image_outputs import by_label, encoded_images, image_files, images_in, predictions
    from image_samples import sample_predictions

    global_batch_size, smoothing = config.train.global_batch_size, config.train.label_smoothing
    images = tfdml.data.open_images(
        config.data.dataset, data_dir=config.data.data_dir, image_size=config.data.image_size
    )
    augmentation = tfdml.data.ImageAugmentation(**config.data.augment.model_dump())
    # Mixed images have a label for each of their parts, and smoothed labels are spread over all classes: then all
    # labels are vectors.
    one_hot = augmentation.mixes or smoothing > 0
    train_data = images.training(
        global_batch_size,
        seed=config.train.seed,
        shuffle=config.data.shuffle,
        window_shards=config.data.window_shards,
        augmentation=augmentation,
        one_hot=one_hot,
        cache=config.data.cache,
    )
    test_data = images.evaluation(global_batch_size, one_hot=one_hot)
    loss = (
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        if one_hot
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )

    # What the learning rate follows from.
    sizes = {
        "global_batch_size": global_batch_size,
        "total_steps": config.train.epochs * train_data.steps_per_epoch,
    }
    with run.strategy.scope():
        model = build_model(config.model, images.image_shape, images.num_classes)
        if arguments.trains:
            begin_with_pretrained(model, config.model)
        tfdml.precision.keep_float32(model)
        model.compile(
            optimizer=tfdml.optimizers.from_config(
                config.optimizer, **sizes, ema_momentum=config.optimizer.ema_momentum
            ),
            loss=loss,
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
        # Validation sees the averages of the weights, where there are any, and the model ends with them.
        averages = [keras.callbacks.SwapEMAWeights()] if config.optimizer.ema_momentum else []
        run.fit(
            trainer,
            train_data,
            validation_data=test_data,
            callbacks=averages,
            monitoring={"images": sample_predictions(test_data, images.class_names)},
        )
    else:
        run.load(model)
    if arguments.evaluates:
        slices = [by_label(images.class_names)] if config.evaluation.slice_by == "label" else []
        results = run.evaluate(trainer, test_data, slices=slices)
        if run.is_chief:
            print(f"test accuracy: {results['accuracy']:.4f}")
        if config.evaluation.corruptions:
            found = corruptions.accuracy_when_corrupted(
                model,
                run.strategy,
                images,
                config.evaluation.corruptions,
                config.evaluation.severities,
                global_batch_size,
            )
            clean, num_images = results["accuracy"], images.num_examples[images.test_split]
            run.report(
                {},
                compared_with={
                    "out of distribution": {"accuracy": corruptions.mean_accuracy(found)}
                },
                slices={"corruption": corruptions.as_slices(found, clean, num_images)},
            )
            if run.is_chief:
                print(corruptions.as_table(found, clean))
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
