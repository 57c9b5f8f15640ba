"""Reading a whole input in a test, fragment by fragment, as another process would: after pickling."""

from __future__ import annotations

import pickle

from tfdml.data.inputs.input import BadRow, Input, Row, open_input
from tfdml.data.inputs.options import InputOptions


def opened(format: str, *patterns, **options) -> Input:
    return open_input(format, [str(pattern) for pattern in patterns], InputOptions(**options))


def read(source: Input) -> tuple[list[Row], list[BadRow]]:
    fragments = list(source.fragments())
    assert [fragment.number for fragment in fragments] == list(range(len(fragments)))
    if fragments:
        list(source.rows(fragments[0]))  # may leave nothing behind that cannot be pickled
    elsewhere = pickle.loads(pickle.dumps(source))
    fragment_rows = getattr(source, "fragment_rows", None)
    for fragment in fragments if fragment_rows else ():
        got = list(source.rows(fragment))
        if all(isinstance(row, Row) for row in got):
            assert fragment_rows(fragment) == len(got)
    rows = [
        row
        for fragment in pickle.loads(pickle.dumps(fragments))
        for row in elsewhere.rows(fragment)
    ]
    if hasattr(source, "keys_and_labels") and "label" in source.schema:
        known = dict(pair for fragment in fragments for pair in source.keys_and_labels(fragment))
        for row in rows:
            assert isinstance(row, BadRow) or known[row.key] == row.values["label"]
    splits = set(getattr(source, "split_bytes", dict)())
    assert splits == {row.split for row in rows if isinstance(row, Row) and row.split}
    return (
        [row for row in rows if isinstance(row, Row)],
        [row for row in rows if isinstance(row, BadRow)],
    )


def values(source: Input) -> list[dict]:
    """The values of all rows, of which none may be bad."""
    rows, bad = read(source)
    assert bad == []
    return [row.values for row in rows]
