"""Rows out of arrays of one length: what HDF5 and NumPy files have in common."""

from __future__ import annotations

import zipfile
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tfdml.data.format.features import FLOATS, INTEGERS, Feature, make_schema
from tfdml.data.inputs import columns as table
from tfdml.data.inputs.array_sets import Array, ArraySet, array_set, by_split, check_alike
from tfdml.data.inputs.array_values import check_shape, fit_dtype, wanted_dtype
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.image_column import image_column
from tfdml.data.inputs.images import encode_png, image_feature, read_header
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.values import from_python, image_bytes
from tfdml.errors import DataError

# What h5py, NumPy, zipfile and zlib raise for damaged files.
READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)

_FRAGMENT_BYTES = 16 * 1024 * 1024
_FRAGMENT_IMAGES = 4096
_BLOCK_BYTES = 2 * 1024 * 1024


class ArrayInput(FileInput):
    """Rows out of sets of arrays; a subclass finds the arrays and opens them."""

    @abstractmethod
    def _open(self, file: InputFile) -> AbstractContextManager[Mapping[str, Any]]:
        """The arrays of a file by name; slices of them are NumPy arrays."""

    def _prepare(
        self, found: Mapping[InputFile, Mapping[str, Array]], options: InputOptions
    ) -> None:
        """Find sets and schema; to be called by the constructor."""
        self._options = options
        self._said = table.declared(options)
        self._first = self.files[0].path
        splits = [
            (file, split, {name: (at, arrays[at]) for name, at in names.items()})
            for file, arrays in found.items()
            for split, names in by_split(arrays).items()
        ]
        names = tuple(dict.fromkeys(name for _, _, arrays in splits for name in arrays))
        features = table.chosen(names, options, self._first)
        used = dict.fromkeys((*features, *([options.key] if options.key else [])))
        self._sets = [array_set(file, split, arrays, used) for file, split, arrays in splits]
        self._arrays = {name: splits[0][2][name][1] for name in used}
        for file, _, arrays in splits:
            check_alike(file, {name: arrays[name][1] for name in used}, self._arrays, self._first)
        self.schema = make_schema((name, self._feature(name)) for name in features)
        self._row_bytes = max(1, sum(array.row_bytes for array in self._arrays.values()))

    def find_fragments(self) -> list[Fragment]:
        chunk = max(array.chunk_rows for array in self._arrays.values())
        rows = max(1, _FRAGMENT_BYTES // self._row_bytes)
        if any(feature.kind == "image" for feature in self.schema.values()):
            rows = min(rows, _FRAGMENT_IMAGES)
        rows = -(-rows // chunk) * chunk
        found: list[Fragment] = []
        for number, each in enumerate(self._sets):
            for start in range(0, each.length, rows):
                stop = min(start + rows, each.length)
                size = (stop - start) * self._row_bytes
                found.append(
                    Fragment(len(found), each.file.path, start, stop, size, number, (each.file,))
                )
        return found

    def fragment_rows(self, fragment: Fragment) -> int:
        return fragment.stop - fragment.start

    def split_bytes(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for each in self._sets:
            found[each.split] += each.length * self._row_bytes
        return {split: size for split, size in found.items() if split}

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        each = self._sets[fragment.first_row]
        step = max(1, _BLOCK_BYTES // self._row_bytes)
        chunk = max(array.chunk_rows for array in self._arrays.values())
        step = max(step, min(chunk, 4096))
        plan = [(name, self._converter(name, each.file.path)) for name in self.schema]
        prefix = f"{each.file.relative}#{each.split}" if each.split else each.file.relative
        with self._open(each.file) as arrays:
            for start in range(fragment.start, fragment.stop, step):
                stop = min(start + step, fragment.stop)
                try:
                    # Not as memory maps, each of whose rows costs microseconds.
                    block = {
                        n: np.asarray(arrays[each.arrays[n]][start:stop]) for n in self._arrays
                    }
                except READ_ERRORS as error:
                    where = f"{each.file.shown}, indices {start} to {stop - 1}"
                    yield BadRow(
                        where, f"the file is damaged ({' '.join(str(error).split())[:200]})"
                    )
                    continue
                for row in range(stop - start):
                    yield self._row(each, f"{prefix}#{start + row}", start + row, block, row, plan)

    def _row(
        self, each: ArraySet, key: str, index: int, block: dict[str, Any], row: int, plan: list[Any]
    ) -> Row | BadRow:
        location = f"{each.file.shown}, index {index}"
        if each.split:
            location += f" of {each.split}"
        values = {}
        name = ""
        try:
            for name, convert in plan:
                values[name] = convert(block[name][row])
        except ValueError as error:
            return BadRow(location, f"array {name!r}: {error}")
        if self._options.key:
            value = block[self._options.key][row]
            key = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        return Row(key, values, location, each.split)

    def _feature(self, name: str) -> Feature:
        array, said = self._arrays[name], self._said.get(name)
        kind, shape = array.dtype.kind, array.shape[1:]
        is_text = kind in "OSU" or array.dtype.metadata is not None
        if said is not None and said.kind == "image":
            return self._image_feature(name, array)
        if said is not None and said.kind == "label":
            return table.label_feature(
                name, self._options, self._texts(name), only_integers=kind in "iub"
            )
        if said is not None and said.kind == "text":
            return Feature("text")
        if said is not None:
            return Feature("tensor", said.dtype, shape if said.shape is None else said.shape)
        if is_text:
            return Feature("tensor", "string", shape) if shape else Feature("text")
        dtype = array.dtype.name
        if dtype not in (*INTEGERS, *FLOATS, "bool"):
            raise DataError(
                f"{self._first}: the array {name!r} holds {array.dtype}, which is no feature. Leave it out "
                f"with --drop={name}."
            )
        return Feature("tensor", dtype, shape)

    def _image_feature(self, name: str, array: Array) -> Feature:
        """Pixels become PNG images of one size; encoded images stay as they are."""
        height_width, channels = array.shape[1:3], array.shape[3:] or (1,)
        if array.dtype == np.uint8 and len(array.shape) in (3, 4) and channels[0] in (1, 3, 4):
            return Feature("image", shape=(*height_width, *channels), encoding="png")
        if len(array.shape) != 1 or array.dtype.kind not in "OS":
            raise DataError(
                f"{self._first}: the array {name!r} is {array.dtype} {list(array.shape)}; images are uint8 "
                "[N, HEIGHT, WIDTH] or [N, HEIGHT, WIDTH, 1, 3 or 4], or encoded files [N]."
            )
        first = self._sets[0]
        with self._open(first.file) as arrays:
            few = arrays[first.arrays[name]][: min(100, first.length)]
        headers = []
        for value in few:
            try:
                headers.append(read_header(_encoded(value)))
            except ValueError:
                continue  # the conversion will tell
        return image_feature(headers, self._options.image_shape)

    def _texts(self, name: str) -> Iterator[str]:
        for each in self._sets:
            with self._open(each.file) as arrays:
                for start in range(0, each.length, 65536):
                    for value in arrays[each.arrays[name]][start : start + 65536].ravel():
                        yield (
                            value.decode(errors="replace")
                            if isinstance(value, bytes)
                            else str(value)
                        )

    def _converter(self, name: str, file: str) -> Any:
        feature, array = self.schema[name], self._arrays[name]
        if feature.kind == "image":
            if len(array.shape) > 1:
                return encode_png
            check = image_column(feature, file, reencode=self._options.reencode)
            return lambda value: check(_encoded(value))
        convert = from_python(feature)
        if feature.kind == "label" and array.shape[1:]:  # [N, 1]
            return lambda value: convert(value.reshape(()).item() if value.size == 1 else value)
        if feature.kind == "tensor" and feature.dtype != "string":
            if array.dtype == wanted_dtype(feature.dtype) and array.shape[1:] == feature.shape:
                return lambda value: value
            return lambda value: _number(value, feature)
        return convert


def _number(value: Any, feature: Feature) -> np.ndarray:
    array = np.asarray(value)
    check_shape(array.shape, feature.shape)
    return fit_dtype(array, feature.dtype)


def _encoded(value: Any) -> bytes:
    """An encoded image out of an array of bytes objects, or of uint8 arrays of different lengths."""
    return value.tobytes() if isinstance(value, np.ndarray) else image_bytes(value)
