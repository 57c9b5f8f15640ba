"""What inputs made of files share: fragments are found once, and neither they nor the list of files travel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tfdml.data.format.features import Schema
from tfdml.data.inputs.input import Fragment, InputFile


class FileInput(ABC):
    """Base of inputs; a pickled one has no `files`, of which there may be millions, as fragments carry theirs."""

    files: tuple[InputFile, ...] = ()
    schema: Schema
    _fragments: Sequence[Fragment] | None = None

    def fragments(self) -> Sequence[Fragment]:
        if self._fragments is None:
            self._fragments = self.find_fragments()
        return self._fragments

    @abstractmethod
    def find_fragments(self) -> Sequence[Fragment]:
        """The fragments; may read the files."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "files": (), "_fragments": ()}
