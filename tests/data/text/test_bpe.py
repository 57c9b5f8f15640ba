"""Tokenizers: every text comes back, the same texts give the same file, and special tokens are no text."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from tfdml.data.text.bpe import SMALLEST_VOCABULARY, TextTokenizer, train_bpe
from tfdml.errors import ConfigError

TEXTS = [
    f"def function_{n}(self, value):\n    return self.values[{n}] + value  # größer 😀\n".encode()
    for n in range(200)
]
ODD = [
    "",
    "  \n\n\t x",
    "<pad> and <|endoftext|> are words here",
    "😀 ä \x01 \r\n",
    "\ufeffmark",
    "Ġ",
]
IN_ANOTHER_PROCESS = """
import hashlib
from tests.data.text.test_bpe import TEXTS
from tfdml.data.text.bpe import train_bpe
print(hashlib.sha256(train_bpe(TEXTS, 400)).hexdigest())
"""


@pytest.fixture(scope="module")
def bpe():
    return TextTokenizer(train_bpe(TEXTS, 400), "trained here")


@pytest.fixture(scope="module")
def of_bytes():
    return TextTokenizer(train_bpe([], SMALLEST_VOCABULARY), "trained here")


@pytest.mark.parametrize("kind", ["bpe", "of_bytes"])
def test_every_text_comes_back(kind, request):
    tokenizer = request.getfixturevalue(kind)
    for text in [*ODD, *(text.decode() for text in TEXTS)]:
        numbers = tokenizer.encode(text.encode())
        assert tokenizer.decode(numbers.tolist()) == text
        # The numbers that fill up rows and end documents are none of a text.
        assert not {tokenizer.pad, tokenizer.end} & set(numbers.tolist())
    assert (tokenizer.pad, tokenizer.end) == (0, 1)


def test_bytes_are_bytes_and_pairs_of_them_are_fewer(bpe, of_bytes):
    assert of_bytes.num_tokens == 258
    assert all(len(of_bytes.encode(text)) == len(text) for text in TEXTS)
    assert bpe.num_tokens == 400
    assert sum(len(bpe.encode(text)) for text in TEXTS) < sum(map(len, TEXTS)) / 3


def test_a_character_that_is_cut_is_shown_as_one_that_is_not_known(of_bytes):
    numbers = of_bytes.encode("aä".encode())
    assert of_bytes.decode(numbers[:-1].tolist()) == "a\ufffd"


@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_same_texts_give_the_same_file_in_any_process(threads):
    environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(train_bpe(TEXTS, 400)).hexdigest()


def test_a_vocabulary_has_room_for_all_bytes():
    with pytest.raises(ConfigError, match=r"`vocabulary_size` must be at least 258.* got 257"):
        train_bpe(TEXTS, 257)


def test_a_file_that_is_missing_or_no_tokenizer_is_one_sentence(tmp_path):
    with pytest.raises(
        ConfigError, match=r"tokenizer.json: the tokenizer cannot be read \(No such"
    ):
        TextTokenizer.read(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer.json: no file of the `tokenizers` package"):
        TextTokenizer.read(tmp_path / "tokenizer.json")
