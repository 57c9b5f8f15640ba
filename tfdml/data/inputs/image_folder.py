"""Image files whose directory is their class: `images/cat/1.jpg`, `images/dog/2.png`.

Files are stored as they are, so nothing is lost to a second compression.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tfdml.data.format.features import Feature, Schema, make_schema
from tfdml.data.inputs.columns import chosen
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files, group_files
from tfdml.data.inputs.images import SUFFIXES, check_image, fits, image_feature, read_header
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.opening import read_file
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import DataError

_FRAGMENT_FILES = 1024
_FRAGMENT_BYTES = 32 * 1024 * 1024
_LOOKED_AT = 200
_SPLITS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
}


class ImageFolder(FileInput):
    """Features: image, label, and file_name where `--select` asks for it."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, SUFFIXES, example="images/*/*.jpg")
        self._reencode = options.reencode
        parents = {_class_of(file) for file in self.files}
        self._splits = _splits(self.files)
        loose = [file.path for file in self.files if "/" not in file.relative]
        if loose and any(Path(pattern).is_dir() for pattern in patterns):
            raise DataError(
                f"{loose[0]}: the image lies in no directory of its class. Expected is CLASS/FILE below "
                "--input, such as images/cat/1.jpg."
            )
        self.schema = self._make_schema(parents, options)
        names = self.schema["label"].class_names if "label" in self.schema else ()
        self._numbers = {name: number for number, name in enumerate(names)}

    def find_fragments(self) -> list[Fragment]:
        return group_files(self.files, max_files=_FRAGMENT_FILES, max_bytes=_FRAGMENT_BYTES)

    def fragment_rows(self, fragment: Fragment) -> int:
        return len(fragment.items)

    def keys_and_labels(self, fragment: Fragment) -> Iterator[tuple[str, int]]:
        for file in fragment.items:
            if (number := self._numbers.get(_class_of(file))) is not None:
                yield file.relative, number

    def split_bytes(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for file in self.files:
            found[self._split_of(file)] += file.size
        return {split: size for split, size in found.items() if split}

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        for file in fragment.items:
            yield self._row(file)

    def _row(self, file: InputFile) -> Row | BadRow:
        content = b""
        try:
            content = read_file(file)
            values: dict[str, Any] = {}
            if "image" in self.schema:
                header = check_image(content, any_format=self._reencode)
                fits(header, self.schema["image"])
                values["image"] = content
            if "label" in self.schema:
                class_name = _class_of(file)
                if class_name not in self._numbers:
                    raise ValueError(f"the class {class_name!r} is not in --class_names")
                values["label"] = self._numbers[class_name]
            if "file_name" in self.schema:
                values["file_name"] = file.relative.encode()
        except (ValueError, OSError, DataError) as error:
            return BadRow(file.shown, str(error), content)
        return Row(file.relative, values, file.shown, self._split_of(file))

    def _split_of(self, file: InputFile) -> str:
        return self._splits.get(file.relative.partition("/")[0], "")

    def _make_schema(self, parents: set[str], options: InputOptions) -> Schema:
        names = options.read_class_names() or tuple(sorted(parents))
        features = {
            "image": self._look(options.image_shape),
            "label": Feature("label", class_names=names),
            "file_name": Feature("text"),
        }
        wanted = chosen(tuple(features), options, "an image folder")
        return make_schema(
            (name, features[name])
            for name in wanted
            if name != "file_name" or "file_name" in options.select
        )

    def _look(self, image_shape: str) -> Feature:
        """The image feature, after looking at the headers of some files spread over all."""
        step = max(1, len(self.files) // _LOOKED_AT)
        headers = []
        for file in self.files[::step]:
            try:
                headers.append(read_header(read_file(file)))
            except (ValueError, OSError, DataError):
                continue  # the conversion will tell
        return image_feature(headers, image_shape)


def _class_of(file: InputFile) -> str:
    parts = file.path.rsplit("/", 2)  # PurePosixPath takes ten times as long
    return parts[-2] if len(parts) > 1 and parts[-2] else PurePosixPath(file.path).parent.name


def _splits(files: Sequence[InputFile]) -> dict[str, str]:
    """Directory -> split, where the directories above the classes are splits: train/cat/1.jpg."""
    tops = {file.relative.partition("/")[0] for file in files}
    deep = all(file.relative.count("/") >= 2 for file in files)
    return {top: _SPLITS[top] for top in tops} if deep and tops <= set(_SPLITS) else {}
