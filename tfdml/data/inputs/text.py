"""Plain text in UTF-8: a document is a file, or a line. One feature, `text`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfdml.data.format.features import Feature, make_schema
from tfdml.data.inputs.cuts import cut_at_lines, fragments_of_files, lines_between, pieces_of
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files, group_files
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.opening import open_file, read_file, refuse_compressed
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import DataError

_FRAGMENT_FILES = 4096
_FRAGMENT_BYTES = 16 * 1024 * 1024
_LARGEST_DOCUMENT_BYTES = 512 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Text(FileInput):
    """Documents as they are; a line comes without its end, and blank lines are skipped."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, (".txt", ".md", ".text"), example="texts/*.txt")
        refuse_compressed(self.files[0])
        self.schema = make_schema([("text", Feature("text"))])
        self._by_line = options.documents == "line"

    def find_fragments(self) -> list[Fragment]:
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
        for file, start, stop, first_row in pieces_of(fragment):
            if not file.size:
                yield BadRow(file.shown, "the file is empty")
            with open_file(file) as data:
                for number, line in enumerate(lines_between(data, start, stop), first_row):
                    text = line.rstrip(b"\r\n")
                    if text.strip():
                        yield _checked(
                            text, f"{file.relative}#{number}", f"{file.shown}, line {number}"
                        )

    def _document(self, file: InputFile) -> Row | BadRow:
        if file.size > _LARGEST_DOCUMENT_BYTES:
            size = f"{file.size >> 20:,} MiB"
            return BadRow(file.shown, f"the document has {size}; read lines with --documents=line")
        try:
            text = read_file(file).removeprefix(_BYTE_ORDER_MARK)
        except (OSError, DataError) as error:
            return BadRow(file.shown, str(error))
        if not text.strip():
            return BadRow(file.shown, "the file is empty", text)
        return _checked(text, file.relative, file.shown)


def _checked(text: bytes, key: str, location: str) -> Row | BadRow:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        where = f" in line {line}" if b"\n" in text else ""
        return BadRow(location, f"invalid UTF-8{where} (byte 0x{text[error.start]:02x})", text)
    return Row(key, {"text": text}, location)
