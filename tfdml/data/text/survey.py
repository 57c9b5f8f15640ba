"""A first pass over documents: which splits they fall into, how large those are, and what gzip makes of one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tfdml.data.conversion.splits import TRAIN, Splits
from tfdml.data.inputs.input import BadRow
from tfdml.data.text.documents import FEATURE, Documents
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

TEST = "test"
FILE_NAME = "text.json"
_GZIP = 31  # zlib's window of 32 KiB, in gzip's format


@dataclass(frozen=True)
class Facts:
    """What is known of a text data set beside its shards.

    Attributes:
        documents, bytes: split -> how many there are; bytes are those of the texts in UTF-8.
        gzip_bytes: of the texts of the test split, one after the other, as `gzip -9` compresses them.
    """

    documents: dict[str, int]
    bytes: dict[str, int]
    gzip_bytes: int

    @property
    def gzip_bits_per_byte(self) -> float:
        return 8 * self.gzip_bytes / self.bytes[TEST]

    def write(self, directory: Path) -> None:
        with appears_when_whole(directory / FILE_NAME) as file:
            file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Facts:
        return cls(**json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))


def survey(documents: Documents, splits: Splits, *, skips_errors: bool) -> Facts:
    """
    Raises:
        DataError: for a file that is no text, unless they are to be skipped; or a split without documents.
    """
    counts, sizes = ({split: 0 for split in splits.fractions} for _ in range(2))
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    gzip_bytes = 0
    for split, text in texts(documents, splits, skips_errors=skips_errors):
        counts[split] += 1
        sizes[split] += len(text)
        if split == TEST:
            gzip_bytes += len(packer.compress(text))
    facts = Facts(counts, sizes, gzip_bytes + len(packer.flush()))
    _check_splits(documents, facts)
    return facts


def texts(
    documents: Documents, splits: Splits, *, skips_errors: bool = True
) -> Iterator[tuple[str, bytes]]:
    """(split, text) of each document, in a fixed order."""
    bounds = splits.bounds()
    for fragment in documents.fragments():
        for row in documents.rows(fragment):
            if not isinstance(row, BadRow):
                yield bounds.split_of(row.key), row.values[FEATURE]
            elif not skips_errors:
                raise DataError(
                    f"{row.location}: {row.reason}. Take the file away, or set data.on_error=skip."
                )


def _check_splits(documents: Documents, facts: Facts) -> None:
    if all(facts.documents.values()):
        return
    total = sum(facts.documents.values())
    if not total:
        raise DataError(
            f"{len(documents.files)} files, {documents.files[0].shown} the first, and none has text."
        )
    (empty,) = (split for split, count in facts.documents.items() if not count)
    what = {TRAIN: "training", TEST: "testing"}[empty]
    remedy = (
        "set data.split_by=piece, which parts files too"
        if documents.split_by == "file"
        else "give more text"
    )
    raise DataError(
        f"Of {total} documents, {documents.files[0].shown} the first, none is for {what}: which are is decided by a "
        f"hash of each one's name. Set another data.test_fraction, or {remedy}."
    )
