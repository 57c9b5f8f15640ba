"""Every key of every default.yaml is read by its recipe: one that is not would promise what nothing keeps.

A recipe's `main` runs in this process, as short as it goes, with configuration objects that note which of their
settings are read. What validation reads does not count, and neither does writing the whole configuration to run.json.
Settings of parts that are used in turn (a model's kinds, a mode) are read by several runs, those of optimizers and
schedules by making each of them from a configuration of the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

import tfdml
from tests.recipes import short
from tests.recipes.conftest import load_script
from tests.recipes.test_configs import schema_of
from tfdml.config import Arguments, Config, entry, load
from tfdml.config.describe import section_of, settings

TWO_STEPS = {"train.global_batch_size": 721}
# For each recipe: (mode, settings, overlay or "") of the runs that together should read everything.
RUNS: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "image_classifier": [
        ("train_and_evaluate", {"evaluation.corruptions": ["noise"]}, ""),
        ("train", {"model.name": "resnet18", "model.resnet.width": 2, **TWO_STEPS}, ""),
        ("train", {"model.name": "vit", **TWO_STEPS}, ""),
        ("train", {"model.name": "efficientnet", "data.image_size": 32, **TWO_STEPS}, ""),
    ],
    "language_model": [("train_and_evaluate", {}, ""), ("predict", {}, "")],
    "recommender": [
        ("train_and_evaluate", {}, ""),
        ("train_and_evaluate", {"model.name": "two_tower"}, ""),
    ],
    "tabular": [
        ("train_and_evaluate", {}, ""),
        ("train_and_evaluate", {"imbalance.loss": "focal"}, "predictive_maintenance"),
    ],
}
WARMS_UP = {"optimizer.schedule.warmup_fraction": 0, "optimizer.schedule.warmup_steps": 3}
OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer.name": "sgd", "optimizer.schedule.name": "step", **WARMS_UP},
    {"optimizer.name": "lars", "optimizer.schedule.name": "polynomial", **WARMS_UP},
    {"optimizer.name": "lamb", "optimizer.schedule.name": "warmup_stable_decay", **WARMS_UP},
]


class Reads:
    """Notes which settings of a configuration are read, by path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.paths: set[str] = set()
        self._prefixes: dict[int, str] = {}
        self._kept: list[Config] = []  # so that no other object takes the place of one in memory
        original = Config.model_dump
        reads = self

        def getattribute(config: Config, name: str) -> Any:
            value = object.__getattribute__(config, name)
            prefix = reads._prefixes.get(id(config))
            if prefix is not None and name in type(config).model_fields:
                reads.paths.add(prefix + name)
            return value

        def model_dump(config: Config, **options: Any) -> dict[str, Any]:
            prefix = reads._prefixes.get(id(config))
            if prefix:  # not of the whole configuration
                left_out = options.get("exclude") or ()
                reads.paths |= {
                    prefix + path
                    for path, _ in settings(type(config))
                    if path.partition(".")[0] not in left_out
                }
            return original(config, **options)

        monkeypatch.setattr(Config, "__getattribute__", getattribute, raising=False)
        monkeypatch.setattr(Config, "model_dump", model_dump)

    def of(self, config: Config, prefix: str = "") -> None:
        """From now on note what is read of `config`."""
        self._kept.append(config)
        for name, field in type(config).model_fields.items():
            if section_of(field) is not None:
                self.of(object.__getattribute__(config, name), f"{prefix}{name}.")
        self._prefixes[id(config)] = prefix


@pytest.fixture
def reads(monkeypatch) -> Iterator[Reads]:
    policy = keras.config.dtype_policy()
    monkeypatch.setattr(entry, "_ENDS", [])
    yield Reads(monkeypatch)
    keras.config.set_dtype_policy(policy)


def run(main: Callable[..., None], config: Config, mode: Any, directory: Path) -> None:
    main(config, Arguments((), (), False, directory, mode))
    while entry._ENDS:
        entry._ENDS.pop()(None)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", RUNS)
def test_every_key_is_read(recipe, tmp_path, monkeypatch, reads):
    monkeypatch.chdir(tmp_path)
    short.prepare(tmp_path)
    schema, main = schema_of(recipe), load_script(f"train_{recipe}").main
    for mode, changes, overlay in RUNS[recipe]:
        files = [short.config(recipe, name) for name in ("default", overlay) if name]
        config = load(schema, files, short.overrides(recipe, **changes))
        reads.of(config)
        run(main, config, mode, tmp_path / f"model{overlay}")
    for changes in OPTIMIZERS:
        config = load(schema, (), [f"{name}={value}" for name, value in changes.items()])
        reads.of(config)
        tfdml.optimizers.from_config(config.optimizer, global_batch_size=8, total_steps=100)
    unread = [path for path, _ in settings(schema) if path not in reads.paths]
    assert not unread


def test_what_is_not_read_is_found(reads):
    class Inner(Config):
        used: int = 1
        unused: int = 2

    class Dumped(Config):
        one: int = 1
        other: int = 2

    class Outer(Config):
        inner: Inner = Inner()
        dumped: Dumped = Dumped()

    config = Outer()
    assert config.inner.unused == 2  # before
    reads.of(config)
    assert config.inner.used == 1
    config.model_dump()
    config.dumped.model_dump(exclude={"other"})
    assert reads.paths == {"inner", "inner.used", "dumped", "dumped.one"}
