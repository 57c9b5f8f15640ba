"""How the flags of a command line describe an input: which columns there are, what they hold, what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tfdml.errors import ConfigError


@dataclass(frozen=True)
class Flag:
    """A flag of `convert` that this package explains; the command line only declares it."""

    name: str
    kind: Literal["string", "list", "integer", "float", "boolean"]
    default: Any
    help: str


INPUT_FLAGS = (
    Flag(
        "columns",
        "list",
        (),
        "csv without a header line: names of the columns, in order. numpy: names of the arrays.",
    ),
    Flag(
        "delimiter",
        "string",
        "",
        "csv: the character between fields (default: by extension, ',' or tab).",
    ),
    Flag(
        "features",
        "list",
        (),
        "What columns hold, where it should not be guessed: NAME:KIND or NAME:DTYPE[:SHAPE], e.g. "
        "photo:image,review:text,price:float32,grid:uint8:28x28,sex:label.",
    ),
    Flag("label", "string", "", "The column that is the class; same as --features=NAME:label."),
    Flag(
        "class_names",
        "list",
        (),
        "Classes in the order of their numbers, or one file with a name a line "
        "(default: all that occur, sorted).",
    ),
    Flag(
        "key", "string", "", "A column whose values name the rows (default: file and row number)."
    ),
    Flag("select", "list", (), "Use these features only."),
    Flag("drop", "list", (), "Leave these features out."),
    Flag(
        "image_shape",
        "string",
        "",
        "HEIGHTxWIDTHxCHANNELS that all images have; others are bad rows.",
    ),
    Flag("documents", "string", "file", "text: a document is a 'file' or a 'line'."),
    Flag(
        "input_split",
        "string",
        "",
        "tfds, tfrecord: read this split only (default: all, and keep them).",
    ),
    Flag("data_dir", "string", "", "tfds: where data sets are downloaded to."),
)


@dataclass(frozen=True)
class InputOptions:
    """The values of `INPUT_FLAGS`, and what the converter adds.

    Attributes:
        reencode: a stage decodes and encodes the images anyway, so any format that Pillow reads will do.
        raw: give serialised Examples as they are (reshard).
    """

    columns: tuple[str, ...] = ()
    delimiter: str = ""
    features: tuple[str, ...] = ()
    label: str = ""
    class_names: tuple[str, ...] = ()
    key: str = ""
    select: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    image_shape: str = ""
    documents: str = "file"
    input_split: str = ""
    data_dir: str = ""
    reencode: bool = False
    raw: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        if self.documents not in ("file", "line"):
            raise ConfigError(f"--documents={self.documents}: it is 'file' or 'line'.")
        if self.select and self.drop:
            raise ConfigError(
                "--select and --drop are both given; one says which features are used."
            )
        for name in ("columns", "class_names", "select"):
            values = getattr(self, name)
            for value in values:
                if values.count(value) > 1:
                    raise ConfigError(f"--{name} has {value!r} twice.")

    @classmethod
    def from_flags(cls, values: Mapping[str, Any], *, reencode: bool = False) -> InputOptions:
        """From flag names and values; a missing flag has its default."""
        given = {
            flag.name: values[flag.name]
            for flag in INPUT_FLAGS
            if values.get(flag.name) is not None
        }
        return cls(**given, reencode=reencode)

    def read_class_names(self) -> tuple[str, ...]:
        """`class_names`, out of the file if it is one."""
        if len(self.class_names) != 1 or not Path(self.class_names[0]).is_file():
            return self.class_names
        names = tuple(Path(self.class_names[0]).read_text(encoding="utf-8").splitlines())
        for name in names:
            if not name or names.count(name) > 1:
                what = f"has {name!r} twice" if name else "has an empty line"
                raise ConfigError(f"--class_names={self.class_names[0]}: the file {what}.")
        return names
