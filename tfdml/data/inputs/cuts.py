"""Cutting files of lines into fragments at record boundaries, with the number of each fragment's first record."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from tfdml.data.inputs.input import Fragment, InputFile
from tfdml.data.inputs.opening import open_file
from tfdml.errors import DataError

_BLOCK_BYTES = 1024 * 1024
_LARGEST_FRAGMENT_BYTES = 16 * 1024 * 1024
_SMALLEST_FRAGMENT_BYTES = 1024 * 1024
_MOST_FILES = 1024  # of a fragment
MAX_LINE_BYTES = 512 * 1024 * 1024


class Cut(NamedTuple):
    offset: int  # bytes; a record begins here
    row: int  # its number in the file, from 1


def fragment_bytes(files: Sequence[InputFile]) -> int:
    """Bytes of a fragment: large enough to be worth a file of its own, small enough to share the work."""
    total = sum(file.size for file in files)
    return min(_LARGEST_FRAGMENT_BYTES, max(_SMALLEST_FRAGMENT_BYTES, total // 64))


def fragments_of_files(
    files: Sequence[InputFile], cut: Callable[[InputFile, int], Iterator[Cut]]
) -> list[Fragment]:
    """Fragments of a part of a file, from its cuts, or of several small files.

    The first cut of a file is where its first record begins.
    """
    wanted = fragment_bytes(files)
    fragments: list[Fragment] = []
    small: list[InputFile] = []
    for file in files:
        if file.size < wanted // 4 and len(files) > 1:
            small.append(file)
            if len(small) == _MOST_FILES or sum(each.size for each in small) >= wanted:
                fragments.append(_of_whole_files(len(fragments), small))
                small = []
            continue
        if small:
            fragments.append(_of_whole_files(len(fragments), small))
            small = []
        cuts = [*cut(file, wanted), Cut(file.size, 0)]
        for start, stop in itertools.pairwise(cuts):
            if start.offset < stop.offset or not file.size:  # an empty file has to be told of
                fragments.append(
                    Fragment(
                        len(fragments),
                        file.path,
                        start.offset,
                        stop.offset,
                        stop.offset - start.offset,
                        start.row,
                        (file,),
                    )
                )
    if small:
        fragments.append(_of_whole_files(len(fragments), small))
    return fragments


def _of_whole_files(number: int, files: Sequence[InputFile]) -> Fragment:
    size = sum(file.size for file in files)
    return Fragment(number, files[0].path, 0, size, size, 1, tuple(files))


def pieces_of(fragment: Fragment) -> Iterator[tuple[InputFile, int, int, int]]:
    """(file, first byte, last byte, number of the first record) of all that a fragment is made of."""
    if len(fragment.items) == 1:
        yield fragment.items[0], fragment.start, fragment.stop, fragment.first_row
    else:
        for file in fragment.items:
            yield file, 0, file.size, 1


def cut_at_lines(file: InputFile, wanted: int) -> Iterator[Cut]:
    """A cut after the first end of a line behind every `wanted` bytes; lines are counted from 1."""
    with open_file(file) as data:
        yield Cut(0, 1)
        offset, row, next_cut = 0, 1, wanted
        while block := data.read(_BLOCK_BYTES):
            if offset + len(block) >= next_cut:
                end = block.find(b"\n", max(0, next_cut - offset - 1))
                if end >= 0:
                    yield Cut(offset + end + 1, row + block.count(b"\n", 0, end + 1))
                    next_cut = offset + end + 1 + wanted
            offset += len(block)
            row += block.count(b"\n")


def skip_byte_order_mark(data: BinaryIO) -> int:
    """Skip the mark that some editors put at the start of UTF-8, and return its size: 3 or 0 bytes."""
    if data.read(3) == b"\xef\xbb\xbf":
        return 3
    data.seek(0)
    return 0


def lines_between(data: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """The lines that begin in [start, stop), with their ends."""
    data.seek(start)
    if start == 0:
        start = skip_byte_order_mark(data)
    while start < stop:
        line = data.readline(MAX_LINE_BYTES)
        if not line:
            return
        if len(line) == MAX_LINE_BYTES:
            raise DataError(
                f"A line is longer than {MAX_LINE_BYTES >> 20} MiB (at byte {start}); is this a file of lines?"
            )
        start += len(line)
        yield line
