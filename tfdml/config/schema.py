"""The pieces that a recipe's configuration is composed of, with every default.

Types are strict ("3" is no number), unknown keys are refused, and nothing can be changed later.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tfdml.errors import ConfigError

CompressionName = Literal[
    "none",
    "fp16",
    "bf16",
    "int8",
    "int4",
    "topk",
    "signsgd",
    "qsgd",
    "terngrad",
    "randomk",
    "powersgd",
    "dgc",
]
Positive = Annotated[float, Field(gt=0)]


class Config(BaseModel):
    """A section of configuration."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class StrategyConfig(Config):
    name: Literal["one_device", "mirrored", "multi_worker", "parameter_server", "tpu"] = Field(
        default="one_device", description="where the replicas live"
    )
    num_virtual_devices: int | None = Field(
        default=None,
        ge=1,
        description="logical CPU devices per process (mirrored, multi_worker)",
    )


class ParameterServerConfig(Config):
    max_pending_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps scheduled and not yet made; null is two executions, or 16 quick steps, for each worker",
    )
    pull_dtype: Literal["bfloat16", "float16"] | None = Field(
        default=None, description="in which weights travel to the workers; null is as they are"
    )
    staleness_damping: float = Field(
        default=0.0, ge=0, description="an update s updates late counts 1 / (1 + this * s)"
    )


class AugmentConfig(Config):
    resized_crop: bool = Field(
        default=False, description="train on random parts of the stored images, resized"
    )
    crop_padding: int = Field(
        default=0, ge=0, description="pixels added on each side, out of which the old size is cut"
    )
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = Field(
        default="none", description="mirror half of the images"
    )
    rand_augment: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="strength of two random changes of each image; 0 is none",
    )
    color_jitter: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="change of brightness, contrast and saturation, and of hue a quarter of it",
    )
    mixup_alpha: float = Field(
        default=0.0, ge=0, description="mix images and labels of a batch: 0.2 a little; 0 is none"
    )
    cutmix_alpha: float = Field(
        default=0.0, ge=0, description="paste parts of other images of a batch: 1.0; 0 is none"
    )


class ImageDataConfig(Config):
    dataset: str = Field(
        default="digits",
        min_length=1,
        description="digits, tfds:NAME, or a directory or URL that `tfdml convert` wrote",
    )
    data_dir: str = Field(
        default="runs/data",
        min_length=1,
        description="where digits is converted to and where TFDS keeps what it downloads",
    )
    image_size: int | None = Field(
        default=None,
        ge=1,
        description="height and width in pixels to resize to; null keeps the stored size",
    )
    shuffle: Literal["auto", "full", "shards", "none"] = Field(
        default="auto",
        description="full: all images; shards: some shards at a time; auto: shards behind a URL",
    )
    window_shards: int = Field(
        default=16,
        ge=1,
        description="shards whose images are mixed at a time, with shuffle: shards",
    )
    cache: str | None = Field(
        default=None,
        min_length=1,
        description="where decoded images are kept: memory, or a local directory; null is nowhere",
    )
    augment: AugmentConfig = AugmentConfig()


class InteractionDataConfig(Config):
    dataset: str = Field(
        default="embedded",
        min_length=1,
        description="embedded, tfds:NAME, or a MovieLens file: u.data or ratings.csv",
    )
    data_dir: str = Field(
        default="runs/data",
        min_length=1,
        description="where shards are kept, and what TFDS downloads",
    )
    test_fraction: float = Field(
        default=0.1, gt=0, lt=1, description="part of the interactions that is for testing"
    )


class ScheduleConfig(Config):
    name: Literal[
        "constant",
        "cosine",
        "step",
        "polynomial",
        "inverse_square_root",
        "warmup_stable_decay",
    ] = Field(default="constant", description="how the learning rate falls after the warm-up")
    warmup_steps: int = Field(
        default=0, ge=0, description="updates in which the learning rate rises to its peak"
    )
    warmup_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="the same as a part of all updates; one of the two"
    )
    warmup_start: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="where the warm-up begins, as a part of the peak; null: before scaling, else 0",
    )
    end: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="the last learning rate as a part of the peak (not constant, step, inverse_...)",
    )
    power: Positive = Field(default=1.0, description="of polynomial; 1 is a straight line")
    milestones: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.5, 0.75], min_length=1, description="parts of all updates after which step falls"
    )
    milestone_factor: float = Field(
        default=0.1, gt=0, lt=1, description="of the learning rate at each milestone of step"
    )
    decay_fraction: float = Field(
        default=0.2, gt=0, le=1, description="last part of all updates: warmup_stable_decay falls"
    )

    @model_validator(mode="after")
    def _has_one_warmup_that_fits(self) -> ScheduleConfig:
        if self.warmup_steps and self.warmup_fraction:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} and warmup_fraction {self.warmup_fraction}: set one of them."
            )
        if self.name == "inverse_square_root" and not (self.warmup_steps or self.warmup_fraction):
            raise ValueError(
                "inverse_square_root falls from the end of the warm-up on, got none. Set warmup_steps, "
                "or warmup_fraction."
            )
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, got {self.milestones}.")
        return self


OptimizerName = Literal["sgd", "adam", "adamw", "adagrad", "ftrl", "lars", "lamb"]
# What the names of biases and of the vectors in normalisation layers are in Keras.
_VECTORS = ["bias", "gamma", "beta", "scale"]


class OptimizerConfig(Config):
    name: OptimizerName = Field(default="adamw", description="the optimizer")
    learning_rate: float = Field(default=2e-3, gt=0, description="step size; its peak")
    learning_rate_scaling: Literal["none", "linear", "square_root"] = Field(
        default="none", description="how the peak follows from the global batch size"
    )
    base_batch_size: int | None = Field(
        default=None, ge=1, description="examples per update that learning_rate is meant for"
    )
    schedule: ScheduleConfig = ScheduleConfig()
    momentum: float = Field(default=0.0, ge=0, lt=1, description="of sgd and lars")
    trust_coefficient: Positive = Field(
        default=1e-3, description="of lars: size of a layer's update, as a part of its weights"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="fraction of each weight removed per unit of learning rate"
    )
    exclude_from_weight_decay: list[str] = Field(
        default=_VECTORS, description="names of variables that are not decayed"
    )
    exclude_from_adaptation: list[str] = Field(
        default=_VECTORS, description="names of variables that lars and lamb do not adapt to"
    )
    compression: CompressionName = Field(default="none", description="how gradients travel")
    compression_options: dict[str, bool | int | float | str] = Field(
        default={}, description="for example {density: 0.01} with topk, {rank: 4} with powersgd"
    )
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, description="batches whose gradients are averaged before one update"
    )
    global_clipnorm: Positive | None = Field(
        default=None, description="largest norm of all gradients together, after their reduction"
    )
    loss_scale: Literal["auto", "dynamic"] | Positive | None = Field(
        default="auto",
        description="factor on the loss; auto is dynamic with mixed_float16, else none",
    )
    initial_loss_scale: Positive = Field(default=2.0**15, description="of a dynamic loss scale")
    loss_scale_growth_steps: int = Field(
        default=2000, ge=1, description="finite steps in a row after which it doubles"
    )
    min_loss_scale: Positive = Field(default=1.0, description="it is never halved below this")
    max_loss_scale: Positive = Field(default=2.0**24, description="it never grows above this")
    max_skipped_steps: int | None = Field(
        default=50,
        ge=1,
        description="steps in a row that are not finite, after which training fails; null is never",
    )

    @model_validator(mode="after")
    def _settings_belong_together(self) -> OptimizerConfig:
        if self.momentum and self.name not in ("sgd", "lars"):
            raise ValueError(
                f"momentum applies to sgd and lars, got {self.momentum} with {self.name}. "
                "Leave it out, or use name: sgd."
            )
        if self.learning_rate_scaling != "none" and self.base_batch_size is None:
            raise ValueError(
                f"learning_rate_scaling is {self.learning_rate_scaling}, and base_batch_size is not set. "
                f"Set it to the batch size that learning_rate: {self.learning_rate} is meant for."
            )
        if not self.min_loss_scale <= self.initial_loss_scale <= self.max_loss_scale:
            raise ValueError(
                f"initial_loss_scale must be between min_loss_scale: {self.min_loss_scale} and max_loss_scale: "
                f"{self.max_loss_scale}, got {self.initial_loss_scale}."
            )
        return self


class TrainConfig(Config):
    epochs: int = Field(default=12, ge=1, description="passes over the training data")
    global_batch_size: int = Field(
        default=64, ge=1, description="examples per step, over all replicas"
    )
    steps_per_execution: int = Field(
        default=8, ge=1, description="steps inside one call of the compiled loop"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="of initial weights, shuffling and dropout"
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="float32", description="the Keras dtype policy"
    )
    deterministic: bool = Field(
        default=False,
        description="the same bits in every run: op determinism, and the threads of the first start",
    )


class BackupConfig(Config):
    save_freq: int | str = Field(
        default="epoch",
        description="when a job is saved for its restart: epoch, a number of steps, or '10 minutes'",
    )
    directory: str | None = Field(
        default=None,
        min_length=1,
        description="where: a directory that every task sees, or a URL; null is backup/ in --model_dir",
    )
    keep: int = Field(default=2, ge=1, description="how many of the newest snapshots are kept")
    keep_every: int = Field(default=0, ge=0, description="keep every Nth for ever; 0 is none")

    @field_validator("save_freq")
    @classmethod
    def _is_a_frequency(cls, value: int | str) -> int | str:
        from tfdml.checkpoint.save_frequency import SaveFrequency  # imports NumPy

        SaveFrequency.parse(value)
        return value


class MonitoringConfig(Config):
    tensorboard: bool = Field(default=True, description="curves and texts in --model_dir")
    json_lines: bool = Field(
        default=True, description="MODEL_DIR/monitoring, which tfdml top and tfdml report read"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="where each task answers Prometheus, counted on for the tasks of one host",
    )
    metrics_address: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="on which address; 0.0.0.0 is reached from everywhere",
    )
    mlflow: str | None = Field(
        default=None,
        min_length=1,
        description="tracking store of MLflow: local (MODEL_DIR/mlruns) or a URI; null is none",
    )
    every_steps: int | None = Field(
        default=None,
        ge=1,
        description="between two executions that are measured from inside; null is 100, or five seconds of them",
    )
    on_desync: Literal["error", "warn", "off"] = Field(
        default="error", description="when replicas hold different weights; off does not look"
    )
    histograms: bool = Field(default=False, description="of all weights, after every epoch")
    profile_steps: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="[first, last]: traced by TensorFlow's profiler, into MODEL_DIR/profile",
    )
    profile_tasks: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0], min_length=1, description="tasks that are traced, by number, 0 the chief"
    )

    @field_validator("on_desync", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value  # as YAML reads it without quotes

    @model_validator(mode="after")
    def _profile_is_forward(self) -> MonitoringConfig:
        if self.profile_steps is not None and self.profile_steps[0] >= self.profile_steps[1]:
            raise ValueError(
                f"profile_steps must have the smaller step first, got {self.profile_steps}. For example [100, 110]."
            )
        return self


def check_global_batch_size(global_batch_size: int, num_replicas: int) -> None:
    """Refuse a global batch size (examples) that cannot be cut into `num_replicas` equal slices.

    Raises:
        ConfigError: naming the nearest sizes that can.
    """
    remainder = global_batch_size % num_replicas
    if not remainder:
        return
    lower = global_batch_size - remainder
    allowed = [size for size in (lower, lower + num_replicas) if size]
    raise ConfigError(
        f"`train.global_batch_size` must be a multiple of the {num_replicas} replicas, got "
        f"{global_batch_size}. Use {' or '.join(map(str, allowed))}."
    )
