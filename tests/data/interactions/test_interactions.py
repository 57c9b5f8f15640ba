"""Interactions: from files to numbered batches, and what is said of files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfdml.checkpoint import Position
from tfdml.data import Slice, open_interactions
from tfdml.data.interactions.low_rank import LowRank
from tfdml.data.interactions.prepare import prepare
from tfdml.errors import DataError

# Ids with gaps, as in files of which somebody has removed rows; times a day apart.
USERS, ITEMS = (7, 10, 200, 3), (1, 50, 51, 999, 12)
ROWS = [
    (user, item, 1 + (3 * u + 2 * i) % 5, 86400 * (5 * u + i))
    for u, user in enumerate(USERS)
    for i, item in enumerate(ITEMS)
]


def write(path: Path, rows=ROWS, separator: str = "\t", header: str = "") -> str:
    path.write_text(header + "".join(separator.join(map(str, row)) + "\n" for row in rows))
    return str(path)


def opened(dataset: str, data_dir: Path):
    return open_interactions(dataset, data_dir=data_dir, test_fraction=0.4)


def all_rows(data) -> list[tuple[int, int, float]]:
    """(user id, item id, rating) of both splits."""
    rows = []
    for split in ("train", "test"):
        columns = data.arrays(split)
        users, items = data.facts.user_ids[columns["user"]], data.facts.item_ids[columns["item"]]
        rows += zip(users.tolist(), items.tolist(), columns["rating"].tolist(), strict=True)
    return sorted(rows)


def test_every_row_is_there_once_with_the_numbers_of_its_ids(tmp_path):
    data = opened(write(tmp_path / "u.data"), tmp_path)
    assert (data.num_users, data.num_items) == (4, 5)
    assert data.facts.user_ids.tolist() == sorted(USERS)
    assert all_rows(data) == sorted(row[:3] for row in ROWS)


def test_ratings_csv_holds_the_same(tmp_path):
    header = "userId,movieId,rating,timestamp\n"
    path = write(tmp_path / "ratings.csv", separator=",", header=header)
    assert all_rows(opened(path, tmp_path)) == sorted(row[:3] for row in ROWS)


def test_a_directory_stands_for_its_file(tmp_path):
    write(tmp_path / "u.data")
    assert opened(str(tmp_path), tmp_path).num_users == 4


def test_batches_tell_what_training_knows_of_users_and_items(tmp_path):
    data = opened(write(tmp_path / "u.data"), tmp_path)
    train, test = data.arrays("train"), data.arrays("test")
    assert (data.facts.num_train, data.facts.num_test) == (len(train["user"]), len(test["user"]))
    assert data.facts.mean_rating == pytest.approx(train["rating"].mean())
    (batch,) = data.evaluation(100).dataset(Position(0, 0, 0), Slice()).take(1)
    for name in ("user", "item"):
        seen = np.bincount(train[name], minlength=5)
        np.testing.assert_array_equal(batch[f"{name}_count"], seen[batch[name].numpy()])
    times = {(user, item): time / (86400 * 19) for user, item, _, time in ROWS}
    ids = zip(
        data.facts.user_ids[batch["user"].numpy()].tolist(),
        data.facts.item_ids[batch["item"].numpy()].tolist(),
        strict=True,
    )
    np.testing.assert_allclose(batch["time"], [times[pair] for pair in ids], rtol=1e-6)


def test_a_changed_file_is_converted_again(tmp_path):
    path = tmp_path / "u.data"
    first, _, _ = prepare(write(path), tmp_path, 0.4)
    assert prepare(str(path), tmp_path, 0.4)[0] == first
    second, facts, _ = prepare(write(path, ROWS[1:]), tmp_path, 0.4)
    assert second != first
    assert facts.num_train + facts.num_test == len(ROWS) - 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((1, 2, "good", 4), "row 21: column 'rating': 'good' is no number"),
        ((1, 2, "", 4), "row 21: column 'rating': a rating is a number, got nan"),
        (("ann", 2, 3, 4), "row 21: column 'user': 'ann' is no integer"),
        ((1, -2, 3, 4), "row 21: column 'item': an id is a whole number of at least 0, got '-2'"),
        ((1, 2, 3), "row 21: 3 columns, there should be 4"),
        ((1, 2, 3, "noon"), "row 21: column 'timestamp': 'noon' is no integer"),
    ],
    ids=["rating", "no rating", "user", "item", "columns", "time"],
)
def test_a_bad_row_is_named(tmp_path, bad, message):
    path = write(tmp_path / "u.data", [*ROWS, bad])
    with pytest.raises(DataError) as caught:
        prepare(path, tmp_path, 0.4)
    assert str(caught.value) == f"{path}, {message}. Correct the row, or remove it."


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:6], r"has 6 interactions, \d of them for testing, and .* at least 4 each"),
        ([(1, *row[1:]) for row in ROWS], r"has 1 users and 5 items, and at least 2"),
    ],
    ids=["interactions", "users"],
)
def test_too_few_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        prepare(write(tmp_path / "u.data", rows), tmp_path, 0.4)


def test_missing_files_and_columns_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no/u\.data: no such file; data\.dataset is embedded"):
        prepare("no/u.data", tmp_path, 0.4)
    with pytest.raises(DataError, match=r"has neither u\.data nor ratings\.csv"):
        prepare(str(tmp_path), tmp_path, 0.4)
    path = write(tmp_path / "ratings.csv", separator=",", header="userId,movieId,stars,timestamp\n")
    with pytest.raises(DataError, match=r"columns userId, movieId, stars, timestamp.*rating is mi"):
        prepare(path, tmp_path, 0.4)


def test_the_true_factors_err_by_the_noise_alone():
    truth = LowRank(num_users=200, num_items=100, activity=40)
    rows = truth.interactions()
    errors = truth.ratings(rows.user, rows.item) - rows.rating
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(0.4, rel=0.03)
    assert rows.rating.std() > 0.8
    pairs = rows.user * 100 + rows.item
    assert len(np.unique(pairs)) == len(pairs)
    # Users choose what they like: the chosen items have larger scores than the others.
    scores = truth.choice_scores()
    assert scores[rows.user, rows.item].mean() > scores.mean() + 0.4
    again = LowRank(num_users=200, num_items=100, activity=40).interactions()
    np.testing.assert_array_equal(again.rating, rows.rating)
    other = LowRank(num_users=200, num_items=100, activity=40, seed=1).interactions()
    assert not np.array_equal(other.rating[:10], rows.rating[:10])


@pytest.mark.slow
def test_tensorflow_datasets_hold_the_same(tmp_path):
    """A data set with the columns of tfds:movielens, prepared by TFDS on this machine."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "user_id": np.str_,
            "movie_id": np.str_,
            "user_rating": np.float32,
            "timestamp": np.int64,
            "movie_title": np.str_,
        }
    )
    names = ("user_id", "movie_id", "user_rating", "timestamp")
    examples = [
        {**dict(zip(names, (str(u), str(i), float(r), t), strict=True)), "movie_title": "x"}
        for u, i, r, t in ROWS
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="few_ratings",
        version="1.0.0",
        features=features,
        split_datasets={"train": list(enumerate(examples))},
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    assert all_rows(opened("tfds:few_ratings", tmp_path)) == sorted(row[:3] for row in ROWS)
