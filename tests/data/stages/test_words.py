"""Vocabularies and tokenisers: counted over fragments, saved, and applied."""

from __future__ import annotations

import numpy as np
import pytest
import tokenizers

from tests.data.stages.applying import applied, fitted, rows_of
from tfdml.data.format.features import Feature
from tfdml.data.stages.from_flags import stages_from_flags
from tfdml.data.stages.stage import schema_after
from tfdml.data.stages.word_counts import WordCounts
from tfdml.errors import ConfigError, DataError

CITIES = [b"Bonn", "Köln".encode(), b"Bonn", b"Ulm", b"Bonn", "Köln".encode(), b"Aachen"]


def numbers(rows, name):
    return [np.asarray(row.values[name]).tolist() for row in rows]


def test_the_most_frequent_words_in_the_order_of_their_counts():
    rows = rows_of(city=CITIES)
    flags = {"vocabulary": ["city:3"]}
    good, bad, counts = applied(flags, rows[:3], rows[3:])
    assert bad == []
    # Bonn 3, Köln 2, then Aachen and Ulm with 1 each, of which Aachen sorts first.
    assert numbers(good, "city") == [1, 2, 1, 0, 1, 2, 3]
    assert counts == {"vocabulary city: words that are not in it": 1}
    (stage,) = fitted(flags, [rows])
    assert stage.side_files() == {"vocabulary-city.txt": "Bonn\nKöln\nAachen\n".encode()}
    assert stage.describe()["words"] == 3


def test_min_count_and_tensors_of_words(tmp_path):
    words = [np.array([b"a", b"b"], object), np.array([b"a"], object), np.array([], object)]
    good, _, _ = applied({"vocabulary": ["w:10:2"]}, rows_of(w=words))
    assert numbers(good, "w") == [[1, 0], [1], []]
    (tmp_path / "v.txt").write_text("b\na\n")
    good, _, _ = applied({"vocabulary": [f"w:{tmp_path}/v.txt"]}, rows_of(w=words))
    assert numbers(good, "w") == [[2, 1], [2], []]


def test_words_that_a_file_cannot_hold_are_not_in_it():
    good, _, _ = applied({"vocabulary": ["w:9"]}, rows_of(w=[b"a\nb", b"", b"c"]))
    assert numbers(good, "w") == [0, 0, 1]


def test_too_many_words_are_forgotten_rarest_first():
    counts = WordCounts(max_words=2)
    counts.add(["a", "a", "b", "b", "c"])
    assert counts.counts == {"a": 2, "b": 2} and counts.forgotten == 1
    counts.merge(WordCounts(counts=counts.counts.__class__({"a": 1, "d": 5})))
    assert counts.counts == {"a": 3, "d": 5} and counts.forgotten == 2


TEXTS = ["Köln, ja!".encode(), b"ja ja\n", b"?"]


def test_bytes():
    good, _, counts = applied({"tokenize": ["t:bytes"]}, rows_of(t=TEXTS))
    for row, text in zip(good, TEXTS, strict=True):
        assert row.values["t"].dtype == np.int32
        assert bytes((row.values["t"] - 3).astype(np.uint8)) == text
    assert counts == {"tokenize t: tokens": sum(map(len, TEXTS))}


@pytest.mark.parametrize("kind", ["chars", "words"])
def test_chars_and_words_with_a_vocabulary_of_their_own(kind):
    split = {
        "chars": list,
        "words": lambda text: ["Köln", ",", "ja", "!"] if "K" in text else text.split(),
    }
    rows = rows_of(t=TEXTS)
    flags = {"tokenize": [f"t:{kind}"]}
    good, _, _ = applied(flags, rows[:1], rows[1:])
    (stage,) = fitted(flags, [rows[:1], rows[1:]])
    vocabulary = stage.side_files()["tokens-t.txt"].decode().split("\n")[:-1]
    for row, text in zip(good, TEXTS, strict=True):
        found = [vocabulary[number - 3].replace("\\n", "\n") for number in row.values["t"]]
        assert found == split[kind](text.decode())
    assert stage.describe()["num_tokens"] == 3 + len(vocabulary)


def test_what_is_not_in_the_vocabulary_is_2():
    good, _, counts = applied({"tokenize": ["t:words:1"]}, rows_of(t=TEXTS))
    assert numbers(good, "t") == [[2, 2, 3, 2], [3, 3], [2]]
    assert counts["tokenize t: tokens that are not in the vocabulary"] == 4


@pytest.fixture
def tokenizer_file(tmp_path):
    words = {"<pad>": 0, "[UNK]": 1, "</s>": 2, "ja": 3, "!": 4}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "t.json"))
    return tmp_path / "t.json"


def test_a_file_of_the_tokenizers_package(tokenizer_file):
    flags = {"tokenize": [f"t:{tokenizer_file}"], "pack_length": 4}
    stages = stages_from_flags(flags)
    assert stages[0].describe()["end"] == stages[1].end == 2
    assert stages[0].side_files()["tokenizer-t.json"] == tokenizer_file.read_bytes()
    good, _, _ = applied({"tokenize": flags["tokenize"]}, rows_of(t=TEXTS))
    assert numbers(good, "t") == [[1, 1, 3, 4], [3, 3], [1]]


def test_errors(tmp_path, tokenizer_file):
    schema = {"t": Feature("text"), "x": Feature("tensor")}
    (tmp_path / "twice.txt").write_text("a\na\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "no.json").write_text("{}")
    for flags, message in (
        ({"vocabulary": ["t"]}, "NAME:SIZE:MIN_COUNT"),
        ({"vocabulary": ["t:no.txt"]}, "there is no file no.txt"),
        ({"vocabulary": ["x:3"]}, "'x' is float32, and words are text"),
        ({"vocabulary": [f"t:{tmp_path}/twice.txt"]}, "has 'a' twice"),
        ({"vocabulary": [f"t:{tmp_path}/empty.txt"]}, "the file is empty"),
        ({"tokenize": ["t:byte"]}, "there is no file byte"),
        ({"tokenize": ["x:bytes"]}, "'x' is of the kind tensor, and this is for text"),
        ({"tokenize": [f"t:{tmp_path}/no.json"]}, "no file of the `tokenizers` package"),
        ({"rename": ["t:x"]}, "two features would have the name 'x'"),
        ({"rename": ["t"]}, "--rename=t: a feature and a value"),
    ):
        with pytest.raises(ConfigError, match=message):
            schema_after(stages_from_flags(flags), schema)
    with pytest.raises(DataError, match="no word occurs 5 times"):
        applied({"vocabulary": ["t:3:5"]}, rows_of(t=TEXTS))
    with pytest.raises(DataError, match="the texts have no words"):
        applied({"tokenize": ["t:words"]}, rows_of(t=[b" "]))


def test_rename_comes_first():
    flags = {"rename": ["city:place"], "vocabulary": ["place:2"]}
    good, _, _ = applied(flags, rows_of(city=CITIES))
    assert numbers(good, "place")[:2] == [1, 2]
    schema = schema_after(stages_from_flags(flags), {"city": Feature("text")})
    assert schema == {"place": Feature("tensor", "int64")}
