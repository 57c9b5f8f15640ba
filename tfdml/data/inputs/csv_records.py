"""Records of CSV text: fields with quotes and line breaks in them, and where a broken record ends.

A quoted field may hold delimiters, line breaks and doubled quotes. Where a record does not end as it
should (a quote that is never closed, text behind a closing quote), its first line alone is bad, and
reading goes on with the next line: one stray quote does not swallow the rest of a file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tfdml.data.inputs.cuts import Cut, skip_byte_order_mark
from tfdml.data.inputs.input import InputFile
from tfdml.data.inputs.opening import open_file

MAX_RECORD_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
_QUOTE, _NEWLINE = ord('"'), ord("\n")


class Record(NamedTuple):
    """One record; `fields` is empty for a blank line, and `reason` is set for a broken one."""

    size: int  # bytes
    fields: list[str]
    content: bytes
    reason: str = ""


def records(lines: Iterable[bytes], delimiter: str) -> Iterator[Record]:
    """Cut lines into records, and records into fields."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    source = _Lines(lines)
    quote = b'"'
    while (line := source.next()) is not None:
        if quote not in line:
            yield _one_line(line, delimiter)
            continue
        used = [line]
        reader = csv.reader(_texts(source, used), delimiter=delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            source.push_back(used[1:])
            yield Record(len(line), [], line, _reason(str(error)))
            continue
        content = b"".join(used)
        yield Record(len(content), fields, content, _invalid(content, fields))


def cut_at_records(file: InputFile, wanted: int, delimiter: str) -> Iterator[Cut]:
    """Cuts for `fragments_of_files`, between records: a line break in quotes is none."""
    try:
        yield from list(_cut_by_quotes(file, wanted, ord(delimiter)))
    except _OddQuotes:
        yield from _cut_by_records(file, wanted, delimiter)


class _OddQuotes(Exception):
    """Quotes at places where counting them does not tell what is inside."""


def _cut_by_quotes(file: InputFile, wanted: int, delimiter: int) -> Iterator[Cut]:
    """Counts quotes: after an even number of them, the end of a line ends a record."""
    before_open = np.zeros(256, bool)
    before_open[[_NEWLINE, delimiter, _QUOTE]] = True
    after_close = np.zeros(256, bool)
    after_close[[_NEWLINE, ord("\r"), delimiter, _QUOTE]] = True
    offset, row, next_cut = 0, 1, wanted
    inside = False
    last_end = 0  # of a record
    previous = b"\n"
    with open_file(file) as data:
        yield Cut(0, 1)
        offset = skip_byte_order_mark(data)
        block = data.read(_BLOCK_BYTES)
        while block:
            following = data.read(_BLOCK_BYTES)
            octets = np.frombuffer(block, np.uint8)
            ends = np.flatnonzero(octets == _NEWLINE)
            if inside or b'"' in block:
                quotes = np.flatnonzero(octets == _QUOTE)
                around = np.frombuffer(previous + block + (following[:1] or b"\n"), np.uint8)
                opening = quotes[1 if inside else 0 :: 2]
                closing = quotes[0 if inside else 1 :: 2]
                if not (
                    before_open[around[opening]].all() and after_close[around[closing + 2]].all()
                ):
                    raise _OddQuotes
                ends = ends[(np.searchsorted(quotes, ends) + inside) % 2 == 0]
                inside = bool((len(quotes) + inside) % 2)
            for_cut = np.searchsorted(ends, next_cut - offset - 1)
            if for_cut < len(ends):
                end = offset + int(ends[for_cut]) + 1
                yield Cut(end, row + int(for_cut) + 1)
                next_cut = end + wanted
            row += len(ends)
            if len(ends):
                last_end = offset + int(ends[-1]) + 1
            offset += len(block)
            if inside and offset - last_end > MAX_RECORD_BYTES:
                raise _OddQuotes
            previous, block = block[-1:], following
    if inside:
        raise _OddQuotes


def _cut_by_records(file: InputFile, wanted: int, delimiter: str) -> Iterator[Cut]:
    """Reads all records, as `records` does: slower, and right for broken files too."""
    with open_file(file) as data:
        yield Cut(0, 1)
        offset, next_cut = skip_byte_order_mark(data), wanted
        for row, record in enumerate(records(data, delimiter), 1):
            offset += record.size
            if offset >= next_cut:
                yield Cut(offset, row + 1)
                next_cut = offset + wanted


def _one_line(line: bytes, delimiter: str) -> Record:
    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    if "\r" in text:
        reason = "a carriage return without a line feed; line ends are \\n or \\r\\n"
        return Record(len(line), [], line, reason)
    fields = text.split(delimiter) if text else []
    return Record(len(line), fields, line, "" if line.isascii() else _invalid(line, fields))


def _invalid(content: bytes, fields: list[str]) -> str:
    if content.isascii():
        return ""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        column = next((n for n, field in enumerate(fields, 1) if not _is_text(field)), len(fields))
        return f"invalid UTF-8 in column {column} (byte 0x{content[error.start]:02x})"
    return ""


def _is_text(field: str) -> bool:
    try:
        field.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason(error: str) -> str:
    if "unexpected end of data" in error or "field larger" in error:
        return "a quote that is opened and not closed"
    if "expected after" in error:
        return "text behind a closing quote; a quote inside of a field is doubled"
    return error


def _texts(source: _Lines, used: list[bytes]) -> Iterator[str]:
    yield used[0].decode("utf-8", "surrogateescape")
    size = len(used[0])
    while size <= MAX_RECORD_BYTES and (line := source.next()) is not None:
        used.append(line)
        size += len(line)
        yield line.decode("utf-8", "surrogateescape")


class _Lines:
    """Lines, of which some can be given back."""

    def __init__(self, lines: Iterable[bytes]):
        self._lines = iter(lines)
        self._again: list[bytes] = []

    def next(self) -> bytes | None:
        return self._again.pop() if self._again else next(self._lines, None)

    def push_back(self, lines: list[bytes]) -> None:
        self._again.extend(reversed(lines))
