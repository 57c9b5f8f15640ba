"""What an input format is: a schema, fragments that can be read in any process, and the rows of each.

Nothing here imports TensorFlow, pyarrow, h5py or Pillow: a format's module loads when it is opened.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tfdml.errors import ConfigError

if TYPE_CHECKING:
    from tfdml.data.format.features import Schema
    from tfdml.data.inputs.options import InputOptions

# By kind of feature: image -> the encoded file; label -> int; text -> UTF-8; tensor -> NumPy array or scalar.
Value = Any


@dataclass(slots=True)
class Row:
    """One example to be.

    Attributes:
        key: the same in every run, whatever the number of processes; splits are a hash of it.
        values: feature name -> value.
        location: for messages, `cities.csv, row 17`.
        split: the split that the input itself puts the row into, or "". The engine fills it in before
            the stages run, so that packing never mixes splits.
        record: the serialised Example that these values came from, where nothing has changed them. With
            `InputOptions.raw` it comes alone, and `values` is empty.
    """

    key: str
    values: dict[str, Value]
    location: str = ""
    split: str = ""
    record: bytes | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used; reading goes on after it.

    Attributes:
        location: `cities.csv, row 17`.
        reason: one clause, without the location.
        content: what was read, as far as it was; for quarantine.
    """

    location: str
    reason: str
    content: bytes = b""


def as_text(name: str) -> str:
    """A file's name with a mark for each byte that is no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class InputFile(NamedTuple):
    """A file that was found: enough for messages, keys and the digest of the input list."""

    path: str  # to open it: a local path or a URL
    relative: str  # to the directory that all files have in common, as text; for keys and digests
    size: int  # bytes
    version: str  # changes when the file does: time of change, ETag or checksum

    @property
    def shown(self) -> str:
        """The path for messages: names of files need not be text."""
        return self.path if self.path.isascii() else as_text(self.path)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of the input that one process reads from beginning to end.

    Fragments depend on the files alone, never on the number of processes.

    Attributes:
        number: 0, 1, 2, ... in the order of `Input.fragments()`.
        file: for messages.
        start, stop: bytes, rows or row groups, as the format likes.
        size_bytes: of the input, about; for progress and memory.
        first_row: number of the first row in its file, where rows are found by reading.
        items: the files of a fragment that is made of whole files.
        num_rows: where `Input.fragment_rows` needs it.
    """

    number: int
    file: str
    start: int
    stop: int
    size_bytes: int
    first_row: int = 0
    items: tuple[InputFile, ...] = ()
    num_rows: int = 0


class Input(Protocol):
    """A set of rows. Instances are pickled and sent to the processes that read.

    Made by `open_input(format, pattern, options)`, which raises `DataError` when no file matches or
    the schema cannot be told. Three methods more are there where they cost next to nothing:
    `fragment_rows(fragment)`, the exact number of rows, good and bad; `keys_and_labels(fragment)`, of the
    rows whose label is known without reading them; and `split_bytes()`, split -> its bytes, about, of an
    input whose rows say which split they are of.
    """

    schema: Schema
    files: tuple[InputFile, ...]

    def fragments(self) -> Sequence[Fragment]:
        """About 16 to 64 MB of input each, and at most some 4,096 images."""
        ...

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        """The rows of a fragment, always the same and in the same order, in bounded memory."""
        ...


class Format(NamedTuple):
    module: str
    name: str
    help: str  # one line for --help


# name of an option -> the formats that it is for; others refuse it. Those that are not here are for all.
_TABLES = ("csv", "jsonl", "parquet", "hdf5", "numpy", "tfrecord", "tfds")
_OPTIONS = {
    "columns": ("csv",),
    "delimiter": ("csv",),
    "features": _TABLES,
    "label": _TABLES,
    "key": _TABLES,
    "class_names": ("image_folder", *_TABLES),
    "image_shape": ("image_folder", *_TABLES),
    "select": ("image_folder", *_TABLES, "digits"),
    "drop": ("image_folder", *_TABLES, "digits"),
    "documents": ("text",),
    "input_split": ("tfrecord", "tfds"),
    "data_dir": ("tfds",),
}

# name in --format -> the class, called with (patterns, options).
FORMATS = {
    "image_folder": Format("image_folder", "ImageFolder", "image files; a directory is a class"),
    "csv": Format("csv_rows", "Csv", "rows of comma- or tab-separated values"),
    "jsonl": Format("jsonl", "JsonLines", "a JSON object a line"),
    "parquet": Format("parquet", "Parquet", "Parquet files, nested lists as tensors"),
    "hdf5": Format("hdf5", "Hdf5", "data sets of one length in HDF5 files"),
    "numpy": Format("numpy_arrays", "Numpy", ".npy and .npz files with arrays of one length"),
    "text": Format("text", "Text", "plain text, a document a file or a line"),
    "tfrecord": Format("tfrecord", "TfRecord", "TFRecord shards, with or without side files"),
    "tfds": Format("tfds", "Tfds", "a data set of TensorFlow Datasets, by its name"),
    "digits": Format("digits", "Digits", "scikit-learn's handwritten digits; needs no --input"),
}


def open_input(format: str, patterns: Sequence[str], options: InputOptions) -> Input:
    """The input that `--format` and `--input` describe.

    Raises:
        ConfigError: for an unknown format or an option that the format cannot use.
        DataError: when no file matches, or the files do not say what their rows are.
    """
    if format not in FORMATS:
        near = difflib.get_close_matches(format, FORMATS, n=1)
        meant = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"--format={format}: no such format. {meant}There are {', '.join(FORMATS)}."
        )
    for name, formats in _OPTIONS.items():
        value = getattr(options, name)
        if value != getattr(type(options), name) and format not in formats:
            raise ConfigError(
                f"--{name} is not for --format={format}; it is for {', '.join(formats)}."
            )
    known = FORMATS[format]
    module = importlib.import_module(f"tfdml.data.inputs.{known.module}")
    return getattr(module, known.name)(tuple(patterns), options)
