"""What happens to rows that cannot be used: the end, a list, or a list and a copy of what was read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tfdml.data.inputs.input import BadRow
from tfdml.errors import DataError

if TYPE_CHECKING:
    from tfdml.data.conversion.state import State


class RowError(DataError):
    """A row that cannot be used, where such rows are not allowed."""


class BadRows:
    """The bad rows of a fragment, kept so that any number of them does no harm to memory for long."""

    def __init__(self, on_error: str, state: State, fragment: int) -> None:
        self._on_error = on_error
        self._state = state
        self._fragment = fragment
        self._lines: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, row: BadRow) -> None:
        """
        Raises:
            RowError: where `on_error` is fail.
        """
        if self._on_error == "fail":
            raise RowError(
                f"{row.location}: {row.reason}. --on_error=skip leaves such rows out, "
                "--on_error=quarantine puts them aside."
            )
        listed = {"location": row.location, "reason": row.reason}
        if self._on_error == "quarantine" and row.content:
            name = f"{self._fragment:05d}-{len(self):05d}"
            self._state.write(self._state.quarantine / name, row.content)
            listed["content"] = f"quarantine/{name}"
        self._lines.append(json.dumps(listed, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        """Write the list of the fragment, if there is anything to list."""
        if self._lines:
            self._state.write(self._state.errors(self._fragment), "".join(self._lines).encode())
