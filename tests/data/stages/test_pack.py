"""Packing: nothing is lost, nothing is twice, and splits stay apart."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.stages.applying import applied, rows_of
from tfdml.data.format.features import Feature
from tfdml.data.stages.from_flags import stages_from_flags
from tfdml.data.stages.stage import schema_after
from tfdml.errors import ConfigError

DOCUMENTS = [np.arange(10 * n, 10 * n + size) for n, size in enumerate((3, 0, 9, 1, 2), 1)]
FLAGS = {"pack_length": 4, "pack_feature": "t", "pack_eos": 7}


def tokens(rows):
    return [row.values["t"].tolist() for row in rows]


def test_documents_are_joined_with_an_end_behind_each():
    good, bad, counts = applied(FLAGS, rows_of(t=DOCUMENTS))
    assert bad == []
    joined = np.concatenate(tokens(good)).tolist()
    wanted = [n for document in DOCUMENTS for n in (*document, 7)]
    assert joined[: len(wanted)] == wanted
    assert joined[len(wanted) :] == [0] * (-len(wanted) % 4)
    assert counts == {
        "pack: documents": 5,
        "pack: tokens": 20,
        "pack: rows": 5,
    }
    assert len({row.key for row in good}) == len(good)
    assert good[0].values["t"].dtype == np.int32


def test_the_tail_of_each_fragment():
    rows = rows_of(t=DOCUMENTS)
    padded, _, counts = applied(FLAGS, rows[:2], rows[2:])
    assert tokens(padded)[1] == [7, 0, 0, 0]
    assert counts["pack: padding tokens"] == 3 + 1
    dropped, _, counts = applied({**FLAGS, "pack_tail": "drop"}, rows[:2], rows[2:])
    assert len(dropped) == len(padded) - 2
    assert counts["pack: tokens dropped at the end of fragments"] == 1 + 3


def test_splits_are_packed_by_themselves():
    rows = rows_of(t=DOCUMENTS)
    for row, split in zip(rows, ["train", "train", "test", "test", "train"], strict=True):
        row.split = split
    good, _, _ = applied(FLAGS, rows)
    for split, documents in (("train", (0, 1, 4)), ("test", (2, 3))):
        found = np.concatenate(tokens([row for row in good if row.split == split]))
        wanted = np.concatenate([np.append(DOCUMENTS[n], 7) for n in documents])
        np.testing.assert_array_equal(found[: len(wanted)], wanted)
        assert not found[len(wanted) :].any()


def test_segments_and_positions():
    good, _, _ = applied({**FLAGS, "pack_segments": True}, rows_of(t=DOCUMENTS[:3]))
    assert [row.values["segment_ids"].tolist() for row in good] == [
        [1, 1, 1, 1],
        [1, 2, 2, 2],
        [1, 1, 1, 1],
        [1, 1, 1, 0],
    ]
    assert good[1].values["positions"].tolist() == [0, 0, 1, 2]
    schema = schema_after(
        stages_from_flags({**FLAGS, "pack_segments": True}),
        {"t": Feature("tensor", "int64", (None,))},
    )
    assert set(schema) == {"t", "segment_ids", "positions"}
    assert schema["t"] == Feature("tensor", "int32", (4,))


def test_a_long_document_makes_many_rows_with_keys_of_their_own():
    good, _, _ = applied({**FLAGS, "pack_eos": -1}, rows_of(t=[np.arange(16), np.arange(4)]))
    assert [row.key for row in good] == ["0+0", "0+1", "0+2", "0+3", "1+0"]


def test_tokenised_text_is_packed_with_its_own_end():
    good, _, _ = applied(
        {"tokenize": ["t:bytes"], "pack_length": 6}, rows_of(t=[b"ab", b"c", b"d"])
    )
    assert tokens(good) == [[100, 101, 1, 102, 1, 103], [1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "flags, schema, message",
    [
        ({"pack_length": 4}, {"t": Feature("text")}, "Say --pack_feature=NAME"),
        ({"pack_length": 1, "pack_feature": "t"}, {}, "2 tokens or more"),
        ({**FLAGS, "pack_tail": "keep"}, {}, "--pack_tail=keep: it is 'pad' or 'drop'"),
        ({"pack_eos": 3}, {}, "--pack_eos is for packing"),
        (FLAGS, {"t": Feature("tensor", "float32", (None,))}, "tokens are int32 or int64"),
        (
            FLAGS,
            {"t": Feature("tensor", "int32", (None,)), "y": Feature("label")},
            "a row of joined documents has no 'y'. Use --select=t",
        ),
        (FLAGS, {"u": Feature("text")}, "there is no feature 't'"),
    ],
)
def test_errors(flags, schema, message):
    with pytest.raises(ConfigError, match=message):
        schema_after(stages_from_flags(flags), schema)


def test_a_token_that_is_too_large():
    good, bad, _ = applied(FLAGS, rows_of(t=[np.array([2**40])]))
    assert good == []
    assert bad[0].reason == "feature 't': a token does not fit into int32"
