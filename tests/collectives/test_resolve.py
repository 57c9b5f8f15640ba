"""What `compression` may be, and what it says to what it may not."""

from __future__ import annotations

import re
from typing import get_args

import keras
import numpy as np
import pytest

from tfdml.collectives import (
    COMPRESSION_NAMES,
    CompressedExchange,
    DenseExchange,
    OneShot,
    TwoPhase,
    resolve_exchange,
)
from tfdml.config.schema import CompressionName
from tfdml.errors import ConfigError


def test_every_name_is_in_the_schema_and_makes_an_exchange() -> None:
    assert get_args(CompressionName) == COMPRESSION_NAMES
    for name in COMPRESSION_NAMES:
        assert isinstance(resolve_exchange(name), DenseExchange) == (name == "none")
    assert isinstance(resolve_exchange(None), DenseExchange)


def test_options_reach_the_codec() -> None:
    exchange = resolve_exchange(
        {"name": "topk", "density": 0.25, "feedback": False, "start_step": 0}
    )
    assert isinstance(exchange, CompressedExchange)
    scheme = exchange.scheme
    assert isinstance(scheme, OneShot)
    assert scheme.codec.density == 0.25 and not scheme.feedback.enabled
    two_phase = resolve_exchange({"name": "int8", "exchange": "two_phase"})
    assert isinstance(two_phase, CompressedExchange) and isinstance(two_phase.scheme, TwoPhase)


def test_coarse_ones_travel_dense_at_first() -> None:
    variables = [keras.Variable(np.zeros([100, 100], "f4"))]
    for name in ("topk", "randomk", "signsgd", "powersgd"):
        early, late = (resolve_exchange(name).wire_bytes(variables, 2, step) for step in (99, 100))
        assert early == 40_000 > 2 * late
        assert resolve_exchange({"name": name, "start_step": 0}).wire_bytes(variables, 2, 0) == late


@pytest.mark.parametrize(
    ("compression", "message"),
    [
        ("top_k", "`compression` must be one of none, fp16, .*, got 'top_k'. Did you mean 'topk'?"),
        (3, "`compression` must be a name or a mapping with the key 'name', got 3."),
        ({"density": 0.1}, "`compression` must be a name or a mapping"),
        ({"name": "topk", "density": 0.0}, "`density` of topk must be above 0 and at most 1, got 0.0. 0.01 sends"),
        ({"name": "topk", "densty": 0.1}, "compression 'topk' has only .*, got 'densty'. Did you mean 'density'?"),
        ({"name": "none", "density": 0.1}, "compression 'none' has no options, got 'density'."),
        ({"name": "powersgd", "rank": 0}, "`rank` must be a whole number of at least 1, got 0."),
        ({"name": "powersgd", "exchange": "one_shot"}, "compression 'powersgd' has only .*, got 'exchange'."),
        ({"name": "int8", "block_size": 100}, "`block_size` must be a power of two .*, got 100"),
        ({"name": "int8", "exchange": "ring"}, "`exchange` must be one of auto, .*, got 'ring'."),
        ({"name": "topk", "exchange": "two_phase"}, "topk"),
        ({"name": "int8", "start_step": -1}, "`start_step` must be a whole number of at least 0, got -1."),
        ({"name": "int8", "feedback": "yes"}, "`feedback` must be true or false, got 'yes'."),
        ({"name": "dgc", "momentum": 1.0}, "`momentum` must be in [0, 1), got 1.0."),
        ({"name": "dgc", "start_step": 5}, "compression 'dgc' has only .*, got 'start_step'."),
        ({"name": "dgc", "warmup_steps": 0.5}, "`warmup_steps` must be a whole number"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_in_one_sentence(compression: object, message: str) -> None:
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(ConfigError, match=pattern):
        resolve_exchange(compression)  # type: ignore[arg-type]


def test_dgc_refuses_a_second_momentum() -> None:
    from tfdml.optimizers import DistributedOptimizer

    DistributedOptimizer(keras.optimizers.SGD(0.1), compression="dgc")
    for optimizer, named in (
        (keras.optimizers.SGD(0.1, momentum=0.9), "SGD with momentum=0.9"),
        (keras.optimizers.Adam(), "Adam"),
    ):
        with pytest.raises(ConfigError, match=f"momentum of its own.*got {named}"):
            DistributedOptimizer(optimizer, compression="dgc")


@pytest.mark.parametrize("name", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_dgc_refuses_to_clip_after_its_momentum(name: str) -> None:
    from tfdml.optimizers import DistributedOptimizer

    with pytest.raises(ConfigError, match=rf"got {name}=1.0. Pass it as .*'clipnorm': 1.0"):
        DistributedOptimizer(keras.optimizers.SGD(0.1, **{name: 1.0}), compression="dgc")
    with pytest.raises(ConfigError, match=rf"got {name}=1.0"):
        DistributedOptimizer(keras.optimizers.SGD(0.1), compression="dgc", **{name: 1.0})
