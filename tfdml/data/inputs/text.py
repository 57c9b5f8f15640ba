"""Plain text in UTF-8: a document is a file, or a line. One feature, `text`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfdml.data.features import Feature, make_schema
from tfdml.data.inputs.cuts import cut_at_lines, fragments_of_files, lines_between
from tfdml.data.inputs.files import find_files, group_files, open_file, read_file
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import ConfigError, DataError

_FRAGMENT_FILES = 4096
_FRAGMENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Text:
    """Documents as they are; a line comes without its end, and blank lines are skipped."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        if options.features or options.label or options.key:
            raise ConfigError(
                "--features, --label and --key are for tables; plain text has the feature text."
            )
        self.files = find_files(patterns, (".txt", ".md", ".text"), example="texts/*.txt")
        self.schema = make_schema([("text", Feature("text"))])
        self._by_line = options.documents == "line"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "files": ()}

    def fragments(self) -> list[Fragment]:
        if self._by_line:
            return fragments_of_files(self.files, cut_at_lines)
        return group_files(self.files, max_files=_FRAGMENT_FILES, max_bytes=_FRAGMENT_BYTES)

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        if self._by_line:
            yield from self._lines(fragment)
        else:
            for file in fragment.items:
                yield self._document(file)

    def _lines(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        (file,) = fragment.items
        with open_file(file) as data:
            lines = lines_between(data, fragment.start, fragment.stop)
            for number, line in enumerate(lines, fragment.first_row):
                text = line.rstrip(b"\r\n")
                if text.strip():
                    key, location = f"{file.relative}#{number}", f"{file.path}, line {number}"
                    yield _checked(text, key, location)
        if not file.size:
            yield BadRow(file.path, "the file is empty")

    def _document(self, file: InputFile) -> Row | BadRow:
        try:
            text = read_file(file).removeprefix(_BYTE_ORDER_MARK)
        except (OSError, DataError) as error:
            return BadRow(file.path, str(error))
        if not text.strip():
            return BadRow(file.path, "the file is empty", text)
        return _checked(text, file.relative, file.path)


def _checked(text: bytes, key: str, location: str) -> Row | BadRow:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        where = f" in line {line}" if b"\n" in text else ""
        return BadRow(location, f"invalid UTF-8{where} (byte 0x{text[error.start]:02x})", text)
    return Row(key, {"text": text}, location)
