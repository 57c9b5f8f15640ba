"""Which settings of a wrapped optimizer go over to the wrapper, and which do not go with it."""

from __future__ import annotations

import keras

from tfdml.errors import ConfigError


def refuse_momentum(optimizer: keras.optimizers.Optimizer) -> None:
    """Two momenta, one before the exchange and one after, are not what anybody means."""
    if type(optimizer) is not keras.optimizers.SGD or optimizer.momentum:
        momentum = getattr(optimizer, "momentum", None)
        detail = f" with momentum={momentum}" if momentum else ""
        raise ConfigError(
            "compression 'dgc' has a momentum of its own, so `optimizer` must be keras.optimizers.SGD without "
            f"momentum, got {type(optimizer).__name__}{detail}. "
            "Pass it as {'name': 'dgc', 'momentum': 0.9}."
        )


def refuse_clipping(optimizer: keras.optimizers.Optimizer) -> None:
    """Sums that hold the momentum are up to 1 / (1 - momentum) times as long as the gradients that a limit is for."""
    for name in ("clipvalue", "clipnorm", "global_clipnorm"):
        if getattr(optimizer, name):
            raise ConfigError(
                f"compression 'dgc' clips gradients before its momentum, so `optimizer` must not clip what comes "
                f"after it, got {name}={getattr(optimizer, name)}. Pass it as {{'name': 'dgc', 'clipnorm': 1.0}}, "
                "the norm of all gradients together."
            )


def set_clipping(optimizer: keras.optimizers.Optimizer, *values: float | None) -> None:
    """Hand clipping to the wrapped optimizer, which sees summed gradients only."""
    names = ("clipvalue", "clipnorm", "global_clipnorm")
    given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    already = {name: getattr(optimizer, name) for name in names if getattr(optimizer, name)}
    if len(given) > 1 or (given and already):
        listed = ", ".join(f"{name}={value}" for name, value in [*given.items(), *already.items()])
        raise ConfigError(
            f"only one of clipvalue, clipnorm and global_clipnorm can be set, in one place, got {listed}. "
            "Keep one."
        )
    for name, value in given.items():
        if not value > 0:
            raise ConfigError(
                f"`{name}` must be positive, got {value}. Leave it out for no clipping."
            )
        setattr(optimizer, name, value)


def take_over(optimizer: keras.optimizers.Optimizer, name: str, value: int | None) -> int | None:
    """Move the setting `name` from the wrapped optimizer, where it fails under a strategy, to the wrapper."""
    inner_value = getattr(optimizer, name)
    if value is not None and inner_value is not None and value != inner_value:
        raise ConfigError(
            f"`{name}` is {value} in DistributedOptimizer and {inner_value} in {type(optimizer).__name__}. "
            "Set it in one place."
        )
    setattr(optimizer, name, None)
    value = inner_value if value is None else value
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ConfigError(
            f"`{name}` must be a whole number of at least 1, got {value!r}. Leave it out to do without."
        )
    return value if value != 1 or name != "gradient_accumulation_steps" else None
