"""From files of text to a tokenizer and shards of token rows, once: they are read by number from then on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfdml.data.conversion.request import Conversion, OnError, input_digest
from tfdml.data.conversion.run import convert
from tfdml.data.conversion.splits import TRAIN, Splits
from tfdml.data.stages.pack import Pack
from tfdml.data.stages.tokenise import Tokenise
from tfdml.data.text.bpe import TextTokenizer, train_bpe
from tfdml.data.text.documents import (
    FEATURE,
    Documents,
    SplitBy,
    licence_and_source,
    open_documents,
)
from tfdml.data.text.survey import FILE_NAME as FACTS
from tfdml.data.text.survey import TEST, survey, texts
from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import appears_when_whole, one_process_at_a_time

TOKENIZER = f"tokenizer-{FEATURE}.json"
_VERSION = 1
_SMALL_BYTES = 64 << 20  # of text that goes into one shard; more is for the converter to cut


@dataclass(frozen=True)
class TextSettings:
    """What the shards depend on, beside the files.

    Attributes:
        sequence_length: tokens of a row.
        vocabulary_size: of the tokenizer that is trained on the training documents; see `train_bpe`.
        tokenizer: a tokenizer.json to be used instead.
        test_fraction: the part of all documents that is held out, by a hash of each one's name.
        split_by: what a document is.
        on_error: whether a file that is no text is an error, or left out.
    """

    sequence_length: int
    vocabulary_size: int
    tokenizer: bytes | None = None
    test_fraction: float = 0.05
    split_by: SplitBy = "file"
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        if self.sequence_length < 2:
            raise ConfigError(
                f"`sequence_length` must be at least 2 tokens, got {self.sequence_length}."
            )
        if not 0 < self.test_fraction < 1:
            raise ConfigError(f"`test_fraction` must be in (0, 1), got {self.test_fraction}.")

    @property
    def splits(self) -> Splits:
        return Splits({TRAIN: 1 - self.test_fraction, TEST: self.test_fraction})

    def of_documents(self) -> tuple[object, ...]:
        """What decides which documents there are, and in which split."""
        return self.test_fraction, self.split_by, self.on_error

    def texts(self, documents: Documents) -> Iterator[tuple[str, bytes]]:
        return texts(documents, self.splits, skips_errors=self.on_error != "fail")


def prepare(dataset: str, data_dir: Path, settings: TextSettings) -> Path:
    """The directory of shards, tokenizer and `Facts`, made now if nobody has; many processes may call at once.

    It has another name for every state of the files and every setting, so that none is ever stale; and the same one
    whether its tokenizer was trained here or given.

    Raises:
        DataError: there is no text, a file is no text, or the directory cannot be written.
    """
    documents = open_documents(dataset, settings.split_by)
    known = (input_digest(documents.files, versions=True), *settings.of_documents())
    try:
        content = settings.tokenizer
        if content is None:
            name = _name("tokenizer", dataset, *known, settings.vocabulary_size)
            file = data_dir / f"{name}.json"
            with _made_once(file, data_dir / f".{name}.lock") as missing:
                if missing:
                    _train(documents, settings, file)
            content = file.read_bytes()
        name = _name("text", dataset, *known, settings.sequence_length, content)
        directory = data_dir / name
        with _made_once(directory / FACTS, data_dir / f".{name}.lock") as missing:
            if missing:
                _convert(dataset, documents, settings, content, directory)
    except OSError as error:
        raise DataError(
            f"The tokens cannot be written to {data_dir}: {error.strerror or error}. "
            "Set data.data_dir to a directory that can be written."
        ) from None
    return directory


def _name(kind: str, dataset: str, *depends_on: object) -> str:
    digest = hashlib.sha256(repr((_VERSION, kind, dataset, depends_on)).encode()).hexdigest()
    return f"{kind}-{re.sub(r'[^A-Za-z0-9]+', '_', Path(dataset).stem)}-{digest[:8]}"


@contextmanager
def _made_once(file: Path, lock: Path) -> Iterator[bool]:
    """Whether `file` is to be made in this block; no other process is in it meanwhile.

    Where the file is there no lock is needed, so the directory may be read-only from then on.
    """
    if file.exists():
        yield False
        return
    with one_process_at_a_time(lock):
        yield not file.exists()


def _train(documents: Documents, settings: TextSettings, file: Path) -> None:
    training = (text for split, text in settings.texts(documents) if split == TRAIN)
    content = train_bpe(training, settings.vocabulary_size)
    with appears_when_whole(file) as unfinished:
        unfinished.write_bytes(content)


def _convert(
    dataset: str, documents: Documents, settings: TextSettings, content: bytes, directory: Path
) -> None:
    """Write the shards, and `Facts` last."""
    facts = survey(documents, settings.splits, skips_errors=settings.on_error != "fail")
    tokenizer = TextTokenizer(content, TOKENIZER)
    if tokenizer.end is None or tokenizer.end == tokenizer.pad:
        raise ConfigError(
            "The tokenizer must have a token that ends a document, such as <|endoftext|>, and another one that fills "
            "up rows, such as <pad>. Use one that was trained here."
        )
    stages: Any = (  # mypy does not see that Tokenise is a Stage: whether it is fitted cannot be set
        Tokenise(FEATURE, "file", tokenizer=tokenizer),
        Pack(FEATURE, settings.sequence_length, end=tokenizer.end, pad=tokenizer.pad),
    )
    licence, source = licence_and_source(dataset)
    request = Conversion(
        documents,
        str(directory),
        "text",
        stages=stages,
        splits=settings.splits,
        num_shards=1 if sum(facts.bytes.values()) < _SMALL_BYTES else None,
        on_error=settings.on_error,
        licence=licence,
        source=source,
    )
    convert(request)
    facts.write(directory)
