"""A snapshot that was found whole: what every task had put into it, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tfdml.checkpoint.contents import ARRAY, BLOB, DOCUMENT, OPTIMIZER, STATE, WEIGHTS
from tfdml.checkpoint.damage import Damaged, found_damaged
from tfdml.checkpoint.manifest import Manifest
from tfdml.checkpoint.model_state import Saved, check_fits, model_variables
from tfdml.checkpoint.part_file import PartFile
from tfdml.checkpoint.position import Position
from tfdml.errors import DataError


class Section(Mapping[str, np.ndarray]):
    """The arrays of one section of one part, by name, each read from the file at every access."""

    def __init__(self, part: PartFile, section: str):
        self._part = part
        self._section = section
        self._names = dict.fromkeys(part.names(section))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        with _still_whole():
            return self._part.array(self._section, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Part:
    """What one task saved."""

    def __init__(self, file: PartFile):
        self._file = file

    def arrays(self, section: str) -> Section:
        """The arrays of a section; empty where there was no such section."""
        return Section(self._file, section)

    def document(self, section: str, default: Any = None) -> Any:
        """What JSON said; `default` where there was no such section."""
        if section not in self._file.sections(DOCUMENT):
            return default
        with _still_whole():
            return self._file.document(section)

    def blob(self, section: str) -> bytes | None:
        """The bytes; None where there was no such section."""
        if section not in self._file.sections(BLOB):
            return None
        with _still_whole():
            return self._file.blob(section)

    def sections(self) -> set[str]:
        return set().union(*(self._file.sections(kind) for kind in (ARRAY, DOCUMENT, BLOB)))


class Restored:
    """A whole snapshot.

    Attributes:
        name, position: of the snapshot; num_tasks: of the job that saved it; facts: as they were given to `begin`.
        chief: what the chief saved: model, optimizer and all else that is the same on every task.
    """

    def __init__(self, manifest: Manifest, open_part: Callable[[int], PartFile]):
        self.name = str(manifest.name)
        self.position: Position = manifest.position
        self.num_tasks = len(manifest.parts)
        self.facts = dict(manifest.facts)
        self._open_part = open_part
        self._parts: dict[int, Part] = {}

    @property
    def chief(self) -> Part:
        return self.part(0)

    def part(self, task: int) -> Part:
        """What `task` saved, of `num_tasks`."""
        if task not in self._parts:
            with _still_whole():
                self._parts[task] = Part(self._open_part(task))
        return self._parts[task]

    def parts(self, section: str) -> list[Section]:
        """The arrays of a section of all tasks, in their order, as `ReplicaState.load` takes them.

        A section is read array by array: W tasks' residuals never lie in memory at once.
        """
        return [self.part(task).arrays(section) for task in range(self.num_tasks)]

    def load_model(self, model: Any, optimizer: bool = True) -> None:
        """Set all variables of `model` (built) and of its optimizer to what was saved; call in no replica context.

        Raises:
            DataError: it is another model or optimizer; names the first variable that differs. Nothing was set.
        """
        sections = [WEIGHTS, STATE] + [OPTIMIZER] * optimizer
        variables = model_variables(model)
        for section in sections:
            check_fits(variables[section], self._saved(section), f"snapshot {self.name}")
        for section in sections:
            self._assign(variables[section], section)

    def load_weights(self, model: Any) -> None:
        """Set the weights of a plain Keras model (built) to what was saved; all else stays.

        Raises:
            DataError: it is another model; names the first variable that differs. Nothing was set.
        """
        weights = list(model.weights)
        check_fits(weights, self._saved(WEIGHTS), f"snapshot {self.name}")
        self._assign(weights, WEIGHTS)

    def _assign(self, variables: list[Any], section: str) -> None:
        for variable, array in zip(variables, self.chief.arrays(section).values(), strict=True):
            variable.assign(array)

    def _saved(self, section: str) -> list[Saved]:
        with _still_whole():
            file = self._open_part(0)
        return [Saved(name, *file.spec(section, name)) for name in file.names(section)]


@contextmanager
def _still_whole() -> Iterator[None]:
    """A file that was whole a moment ago is not any more: an error, there is nothing to fall back to."""
    try:
        with found_damaged():
            yield
    except Damaged as damaged:
        raise DataError(
            f"a snapshot changed while it was read: {damaged}. Is another job using the directory?"
        ) from None
