"""What differs between ways to execute steps, as the Trainer sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tfdml.checkpoint import Position
from tfdml.training.agreement import Agreement
from tfdml.training.loop import Execution
from tfdml.training.metrics import Logs
from tfdml.training.stream import Data


class Batches(Protocol):
    """Data, made ready for one way of execution."""

    @property
    def num_batches(self) -> int | None:
        """In one pass; None where only reading tells."""

    @property
    def element_spec(self) -> Any:
        """Of a batch, with an unknown number of rows."""


class Loop(Protocol):
    """Runs steps over batches; `ExecutionLoop` and `CoordinatorLoop` say how."""

    @property
    def begins_anywhere(self) -> bool:
        """Whether the data finds the very batches of a position, at no cost."""

    def new_pass(self) -> None:
        """Another pass over the data begins, and what metrics hold is what they begin with."""

    def __call__(self, max_steps: int, votes: Sequence[bool] = ()) -> Execution:
        """Up to `max_steps` steps."""

    def settle(self) -> Logs | None:
        """Wait for steps that were told of and are not made yet; the logs then, where they may be others."""

    def report(self) -> Logs:
        """What there is to say of the steps so far, for the logs of an epoch."""

    def counts(self) -> dict[str, np.ndarray]:
        """By name, how often 0, 1, 2, ... came up in the steps so far."""

    def data_state(self) -> bytes | None:
        """Where this task's data stands, if its iterator can say so."""

    def load_data_state(self, state: bytes) -> None:
        """Go on from there."""


class Runner(Protocol):
    """Makes loops.

    Attributes:
        agreement: between the tasks that run the script.
    """

    agreement: Agreement

    def training_data(self, data: Data, *, counts_steps: bool) -> Batches:
        """`data` for training. `counts_steps`: the caller says how many steps an epoch has."""

    def training_loop(self, batches: Any, start: Position, *, counts_steps: bool) -> Loop:
        """The loop over what `training_data` returned, once the model is built."""

    def evaluation(self, data: Data, steps: int | None) -> tuple[Batches, Loop]:
        """Data and loop for evaluation; may be used several times."""

    def predict(self, data: Any, steps: int | None) -> Any:
        """Outputs for all of `data`, in its order."""
