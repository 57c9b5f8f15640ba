"""Tables of interactions: MovieLens files, TensorFlow Datasets, and the embedded ones, as inputs of a conversion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfdml.data.format.features import Feature, make_schema
from tfdml.data.inputs.csv_rows import Csv
from tfdml.data.inputs.input import BadRow, Fragment, Input, InputFile, Row, open_input
from tfdml.data.inputs.options import InputOptions
from tfdml.data.interactions.low_rank import LowRank
from tfdml.errors import DataError
from tfdml.storage import is_remote

EMBEDDED = "embedded"
EMBEDDED_LICENCE = "none is needed: numbers that tfdml draws, without people behind them"
_TFDS = "tfds:"
_KNOWN = (
    "data.dataset is embedded, tfds:NAME (such as tfds:movielens/100k-ratings), or a file of MovieLens, u.data or "
    "ratings.csv"
)


class Columns(NamedTuple):
    """What a table calls the four columns."""

    user: str
    item: str
    rating: str
    timestamp: str


OWN = Columns("user", "item", "rating", "timestamp")
_OF_CSV = Columns("userId", "movieId", "rating", "timestamp")
_OF_TFDS = Columns("user_id", "movie_id", "user_rating", "timestamp")


class Table(NamedTuple):
    """Rows, and what their columns are called."""

    input: Input
    columns: Columns


def open_table(dataset: str, data_dir: Path) -> Table:
    """The table that `dataset` names.

    Args:
        dataset: `embedded`, `tfds:NAME`, a tab-separated file without header (u.data) or a `.csv` with one, also
            a URL, or a directory that holds one of these.
        data_dir: where TFDS keeps what it downloads.

    Raises:
        DataError: there is no such file, or it does not have the columns.
    """
    if dataset == EMBEDDED:
        return Table(Embedded(LowRank()), OWN)
    if dataset.startswith(_TFDS):
        return _tfds(dataset.removeprefix(_TFDS), data_dir)
    path = dataset if is_remote(dataset) else str(_file(dataset))
    if path.lower().endswith(".csv"):
        return _csv(path)
    options = InputOptions(columns=OWN, delimiter="\t", features=_types(OWN))
    return Table(Csv((path,), options), OWN)


def _file(dataset: str) -> Path:
    path = Path(dataset).expanduser()
    for name in ("u.data", "ratings.csv") if path.is_dir() else ():
        if (path / name).is_file():
            return path / name
    if path.is_file():
        return path
    what = "has neither u.data nor ratings.csv" if path.is_dir() else "no such file"
    raise DataError(f"{dataset}: {what}; {_KNOWN}.")


def _types(columns: Columns) -> tuple[str, ...]:
    kinds = ("int64", "int64", "float32", "int64")
    return tuple(f"{name}:{kind}" for name, kind in zip(columns, kinds, strict=True))


def _csv(path: str) -> Table:
    found = Csv((path,), InputOptions(delimiter=",")).schema
    _check_columns(path, tuple(found), _OF_CSV)
    options = InputOptions(delimiter=",", select=_OF_CSV, features=_types(_OF_CSV))
    return Table(Csv((path,), options), _OF_CSV)


def _tfds(name: str, data_dir: Path) -> Table:
    found = open_input("tfds", (name,), InputOptions(data_dir=str(data_dir)))
    _check_columns(f"{_TFDS}{name}", tuple(found.schema), _OF_TFDS)
    options = InputOptions(data_dir=str(data_dir), select=_OF_TFDS)
    return Table(open_input("tfds", (name,), options), _OF_TFDS)


def _check_columns(where: str, found: tuple[str, ...], needed: Columns) -> None:
    missing = [name for name in needed if name not in found]
    if missing:
        raise DataError(
            f"{where} has the columns {', '.join(found)}, and {', '.join(needed)} are needed: "
            f"{missing[0]} is missing."
        )


class Embedded:
    """The interactions of a `LowRank`."""

    files: tuple[InputFile, ...] = ()

    def __init__(self, truth: LowRank):
        self.truth = truth
        kinds = ("int64", "int64", "float32", "int64")
        features = (Feature("tensor", kind) for kind in kinds)
        self.schema = make_schema(zip(OWN, features, strict=True))

    def fragments(self) -> list[Fragment]:
        rows = len(self.truth.interactions().user)
        return [Fragment(0, EMBEDDED, 0, rows, 0)]

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        columns = self.truth.interactions()
        for number, values in enumerate(zip(*(each.tolist() for each in columns), strict=True)):
            location = f"{EMBEDDED}#{number}"
            yield Row(location, dict(zip(OWN, values, strict=True)), location)
