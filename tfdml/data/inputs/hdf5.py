"""HDF5 through h5py: data sets of one length, read in ranges that fit how they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from tfdml.data.inputs.array_sets import Array
from tfdml.data.inputs.arrays import ArrayInput
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.input import InputFile
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import DataError

# A chunk that does not fit in would be unpacked again for every block of its rows.
_CHUNK_CACHE_BYTES = 128 * 1024 * 1024


class Hdf5(ArrayInput):
    """All data sets of the files; one in a group is called `group.name`."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, (".h5", ".hdf5", ".hdf"), example="data.h5", remote=False)
        found = {}
        for file in self.files:
            with self._open(file) as arrays:
                found[file] = {name: _about(data, file.size) for name, data in arrays.items()}
            if not found[file]:
                raise DataError(f"{file.path}: the file holds no data sets.")
        self._prepare(found, options)

    @contextmanager
    def _open(self, file: InputFile) -> Iterator[Mapping[str, Any]]:
        try:
            opened = h5py.File(file.path, "r", locking=False, rdcc_nbytes=_CHUNK_CACHE_BYTES)
        except OSError as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{file.path}: no HDF5 file that can be read ({reason}).") from None
        with opened:
            arrays: dict[str, h5py.Dataset] = {}

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    arrays[name.replace("/", ".")] = item

            opened.visititems(visit)
            yield arrays


def _about(data: h5py.Dataset, file_bytes: int) -> Array:
    dtype = data.dtype
    objects = max(64, file_bytes // max(1, data.size or 0))  # at most so large, on average
    if h5py.check_string_dtype(dtype) is not None or h5py.check_vlen_dtype(dtype) is not None:
        dtype = np.dtype(object)
    return Array(data.shape or (), dtype, data.chunks[0] if data.chunks else 1, objects)
