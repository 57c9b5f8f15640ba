"""Names of the numbers that are no metric of the model, and what TensorBoard files them under."""

from __future__ import annotations

LEARNING_RATE = "learning_rate"
LOSS_SCALE = "loss_scale"
SKIPPED_STEPS = "skipped_steps"
GRADIENT_NORM = (
    "gradient_norm"  # L2, of the sum over replicas, before clipping; mean over measured steps
)
CLIP_RATE = (
    "clip_rate"  # part of the measured steps (of the variables, with clipnorm) that were clipped
)
UPDATE_RATIO = (
    "update_ratio/"  # and the variable's path: L2 norm of one update over that of the weights
)
EXAMPLES_PER_SECOND = "examples_per_second"  # of the whole job
STEPS_PER_SECOND = "steps_per_second"
TOKENS_PER_SECOND = "tokens_per_second"
WIRE_BYTES = "wire_bytes_per_step"  # received by one replica
COMPRESSION_RATIO = "compression_ratio"
RESIDUAL_NORM = "residual_norm"
MEMORY_BYTES = "memory_bytes"  # resident, of this process
EPOCH_SECONDS = "epoch_seconds"  # with validation, callbacks and saving
EXAMPLES = "examples"  # trained by the whole job, since this process began

_GROUPS = {
    LEARNING_RATE: "optimizer",
    LOSS_SCALE: "optimizer",
    SKIPPED_STEPS: "optimizer",
    GRADIENT_NORM: "optimizer",
    CLIP_RATE: "optimizer",
    EXAMPLES_PER_SECOND: "throughput",
    STEPS_PER_SECOND: "throughput",
    TOKENS_PER_SECOND: "throughput",
    EPOCH_SECONDS: "throughput",
    WIRE_BYTES: "exchange",
    COMPRESSION_RATIO: "exchange",
    RESIDUAL_NORM: "exchange",
    MEMORY_BYTES: "memory",
}


def is_metric(name: str) -> bool:
    """Whether `name` is a loss or a metric of the model."""
    return name not in _GROUPS and name != EXAMPLES and not name.startswith(UPDATE_RATIO)


def tag(name: str) -> str:
    """The tag of `name` in TensorBoard: its group and itself; metrics have no group."""
    group = _GROUPS.get(name)
    return f"{group}/{name}" if group else name
