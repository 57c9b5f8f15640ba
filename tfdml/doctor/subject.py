"""Subject: what the checks may look at, each part worked out once, when the first check asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tfdml.cluster import order
from tfdml.cluster.order import Tried
from tfdml.cluster.resolver import Place, Surroundings
from tfdml.doctor.child import Answer, Child
from tfdml.errors import TfdmlError

TENSORFLOW_SECONDS = 90.0  # Importing takes 3 to 9 s, and more from a network file system.


@dataclass
class Subject:
    """This process's surroundings and what the command line asked for.

    `config_files` and `overrides` are those of `recipe`, a training script. `probe` asks for measurements
    between the tasks, with `parameters` gradients.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    model_dir: Path | None = None
    recipe: Path | None = None
    config_files: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    probe: bool = False
    parameters: int = 4_000_000
    _children: list[Child] = field(default_factory=list, init=False)

    @cached_property
    def around(self) -> Surroundings:
        return Surroundings(self.environ)

    @cached_property
    def tried(self) -> list[Tried]:
        """What each platform said. Raises `TfdmlError` where TFDML_CLUSTER names none."""
        return order.explain(self.around)

    @cached_property
    def place(self) -> Place:
        """The cluster and this task in it; a single process where the environment describes none that is valid.

        `checks/cluster.py` is the one that says why.
        """
        try:
            return next((each.place for each in self.tried if each.place), Place())
        except TfdmlError:
            return Place()

    @cached_property
    def model_directory(self) -> Path:
        """Where checkpoints go; the working directory where nobody said."""
        return self.model_dir or Path.cwd()

    # -- what needs TensorFlow

    def start(self) -> None:
        """Let the child begin that imports TensorFlow, while the quick checks run here."""
        _ = self._tensorflow

    @cached_property
    def _tensorflow(self) -> Child:
        return self.start_child("tfdml.doctor.tensorflow_facts")

    @cached_property
    def tensorflow(self) -> Answer:
        """What `tensorflow_facts.py` found; waits for it."""
        return self._tensorflow.answer(TENSORFLOW_SECONDS)

    def start_child(
        self, module: str, order: Mapping | None = None, environ: Mapping[str, str] | None = None
    ) -> Child:
        """Run the `main` of a module of this package in a process of its own, which `close` ends."""
        child = Child(module, order or {}, self.environ if environ is None else environ)
        self._children.append(child)
        return child

    def close(self) -> None:
        for child in self._children:
            child.close()
