"""From files of text to a tokenizer and shards of token rows, once: they are read by number from then on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tfdml.data.conversion.request import Conversion, OnError, input_digest
from tfdml.data.conversion.run import convert
from tfdml.data.conversion.splits import TRAIN, Splits
from tfdml.data.format.dataset_manifest import FILE_NAME
from tfdml.data.stages.pack import Pack
from tfdml.data.stages.tokenise import Tokenise
from tfdml.data.text.bpe import TextTokenizer, train_bpe
from tfdml.data.text.documents import (
    FEATURE,
    STANDARD_LIBRARY,
    Documents,
    SplitBy,
    describe_standard_library,
    open_documents,
)
from tfdml.data.text.survey import FILE_NAME as FACTS
from tfdml.data.text.survey import TEST, survey, texts
from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import one_process_at_a_time

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


def prepare(dataset: str, data_dir: Path, settings: TextSettings) -> Path:
    """The directory of shards, tokenizer and `Facts`, made now if nobody has; many processes may call at once.

    It has another name for every state of the files and every setting, so that none is ever stale.

    Raises:
        DataError: there is no text, a file is no text, or the directory cannot be written.
    """
    documents = open_documents(dataset, settings.split_by)
    directory = data_dir / _directory_name(dataset, documents, settings)
    if not _is_there(directory):
        try:
            with one_process_at_a_time(data_dir / f".{directory.name}.lock"):
                if not _is_there(directory):
                    _convert(dataset, documents, settings, directory)
        except OSError as error:
            raise DataError(
                f"The tokens cannot be written to {directory}: {error.strerror or error}. "
                "Set data.data_dir to a directory that can be written."
            ) from None
    return directory


def _is_there(directory: Path) -> bool:
    return (directory / FILE_NAME).exists() and (directory / FACTS).exists()


def _directory_name(dataset: str, documents: Documents, settings: TextSettings) -> str:
    files = input_digest(documents.files, versions=True)
    digest = hashlib.sha256(f"{_VERSION} {dataset} {files} {settings}".encode()).hexdigest()
    return f"text-{re.sub(r'[^A-Za-z0-9]+', '_', Path(dataset).stem)}-{digest[:8]}"


def _convert(dataset: str, documents: Documents, settings: TextSettings, directory: Path) -> None:
    splits = settings.splits
    facts = survey(documents, splits, skips_errors=settings.on_error != "fail")
    content = settings.tokenizer
    if content is None:
        training = (text for split, text in texts(documents, splits) if split == TRAIN)
        content = train_bpe(training, settings.vocabulary_size)
    tokenizer = TextTokenizer(content, TOKENIZER)
    if tokenizer.end is None:
        raise ConfigError(
            "The tokenizer has no token that ends a document, such as <|endoftext|>. Use one that was trained here."
        )
    request = Conversion(
        documents,
        str(directory),
        "text",
        stages=(
            Tokenise(FEATURE, "file", tokenizer=tokenizer),
            Pack(FEATURE, settings.sequence_length, end=tokenizer.end, pad=tokenizer.pad),
        ),
        splits=splits,
        num_shards=1 if sum(facts.bytes.values()) < _SMALL_BYTES else None,
        on_error=settings.on_error,
        **(describe_standard_library() if dataset == STANDARD_LIBRARY else {"source": dataset}),
    )
    convert(request)
    facts.write(directory)
