"""Asks the kernel to begin writing a growing file to the disk, so that the flush at its end has little to do."""

from __future__ import annotations

import ctypes

_EVERY_BYTES = 16 << 20
_SYNC_FILE_RANGE_WRITE = 2  # <linux/fs.h>: start, and do not wait

# None where the system is not Linux: then the flush at the end does it all.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class EarlyWriting:
    """Of one file, which is written from its beginning to its end."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._begun = 0

    def reached(self, size: int) -> None:
        """The file has so many bytes now."""
        if _sync_file_range is not None and size - self._begun >= _EVERY_BYTES:
            # A hint: where it fails, nothing is lost.
            _sync_file_range(self._file, self._begun, size - self._begun, _SYNC_FILE_RANGE_WRITE)
            self._begun = size
