"""NumPy files: the arrays of an .npz, or the .npy files of a directory, mapped into memory where they can be."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tfdml.data.inputs.array_sets import Array
from tfdml.data.inputs.arrays import READ_ERRORS, ArrayInput
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.input import Fragment, InputFile
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import DataError

_LOCAL_HEADER_BYTES = 30
_BLOCK_BYTES = 1 << 20


class Numpy(ArrayInput):
    """An .npz is a set of arrays, and so are all .npy of a directory; arrays are called as their files."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, (".npz", ".npy"), example="data.npz", remote=False)
        self._members: dict[InputFile, dict[str, str]] = {}
        for directory in dict.fromkeys(PurePosixPath(file.path).parent for file in self.files):
            here = [file for file in self.files if PurePosixPath(file.path).parent == directory]
            alone = {Path(file.path).stem: file.path for file in here if file.path.endswith(".npy")}
            if alone:
                first = next(file for file in here if file.path.endswith(".npy"))
                self._members[first] = alone
            for file in here:
                if not file.path.endswith(".npy"):
                    self._members[file] = {}
        found = {}
        for file in self._members:
            with self._open(file) as arrays:
                found[file] = {name: Array(a.shape, a.dtype) for name, a in arrays.items()}
            if not found[file]:
                raise DataError(f"{file.path}: the file holds no arrays.")
        self._prepare(found, options)

    def find_fragments(self) -> list[Fragment]:
        for file, members in self._members.items():
            if not members:
                _check_stored(file.path)
        return super().find_fragments()

    @contextmanager
    def _open(self, file: InputFile) -> Iterator[Mapping[str, Any]]:
        try:
            if members := self._members[file]:
                yield {name: _map_npy(path) for name, path in members.items()}
                return
            with zipfile.ZipFile(file.path) as archive:
                yield {
                    info.filename.removesuffix(".npy"): _member(file.path, archive, info)
                    for info in archive.infolist()
                    if info.filename.endswith(".npy")
                }
        except READ_ERRORS as error:
            if isinstance(error, DataError):
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(f"{file.path}: no NumPy file that can be read ({reason}).") from None


def _map_npy(path: str) -> np.ndarray:
    with open(path, "rb") as file:
        _header(file, path)  # for a clearer error than NumPy's
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{path}: no .npy file that can be read ({error}).") from None


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    """An array of an .npz: mapped if it is stored as it is, else unpacked as far as it is read."""
    with archive.open(info) as file:
        shape, fortran, dtype, header_bytes = _header(file, f"{path}, {info.filename}")
    if info.compress_type == zipfile.ZIP_STORED and 0 not in shape:
        start = _data_offset(path, info) + header_bytes
        stored = np.memmap(path, dtype, "r", start, math.prod(shape))
        return stored.reshape(shape, order="F" if fortran else "C")
    return _Compressed(archive, info, shape, dtype, fortran, header_bytes)


def _check_stored(path: str) -> None:
    """Compare the checksums of arrays that are mapped: nobody else would, as of compressed ones zipfile does.

    Raises:
        DataError: for a damaged one.
    """
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                continue
            file.seek(_data_offset(path, info))
            crc, left = 0, info.file_size
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                crc, left = zlib.crc32(block, crc), left - len(block)
            if crc != info.CRC:
                raise DataError(
                    f"{path}: the array {info.filename.removesuffix('.npy')!r} does not fit its checksum; "
                    "the file is damaged."
                )


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, dtype, and where the data begin."""
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except ValueError as error:
        raise DataError(f"{where}: no .npy file that can be read ({error}).") from None
    if dtype.hasobject:
        raise DataError(
            f"{where}: the array holds Python objects, which are not read from files. Save texts as "
            "np.array(texts, dtype=str)."
        )
    return shape, fortran, dtype, file.tell()


def _data_offset(path: str, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind a header whose size only it says."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return info.header_offset + _LOCAL_HEADER_BYTES + name + extra


class _Compressed:
    """A compressed array, of which slices of rows are read; going on where the last ended costs nothing."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        shape: tuple[int, ...],
        dtype: np.dtype,
        fortran: bool,
        header_bytes: int,
    ):
        self.shape, self.dtype = shape, dtype
        self._archive, self._info, self._header_bytes = archive, info, header_bytes
        self._file: Any = None
        self._whole: np.ndarray | None = None
        self._fortran = fortran

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        if self._fortran:  # rows are not together
            if self._whole is None:
                with self._archive.open(self._info) as file:
                    self._whole = npy.read_array(file, allow_pickle=False)
            return self._whole[start:stop]
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if self._file is None:
            self._file = self._archive.open(self._info)
        self._file.seek(self._header_bytes + start * row_bytes)
        data = self._file.read((stop - start) * row_bytes)
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])
