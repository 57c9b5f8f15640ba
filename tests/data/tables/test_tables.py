"""Tables: what is read from files, what is known of the training split, and what is said of files that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.tables.tables import rows, write_csv, write_parquet
from tfdml.checkpoint import Position
from tfdml.data import Slice, TableSettings, open_table, open_table_like
from tfdml.data.tables.facts import TrainedTable
from tfdml.errors import ConfigError, DataError

SETTINGS = TableSettings(target="bought", categorical=("floor",))


def opened(dataset: str, data_dir, **changes):
    return open_table(dataset, TableSettings(**{**vars(SETTINGS), **changes}), data_dir=data_dir)


def like(data, dataset: str, data_dir, *, settings=SETTINGS, splits=False, has_target=True):
    options = {"data_dir": data_dir, "splits": splits, "has_target": has_target}
    return open_table_like(data.schema, dataset, settings, **options)


@pytest.fixture
def table(tmp_path):
    return opened(write_csv(tmp_path / "people.csv", rows()), tmp_path)


def both(data) -> dict[str, np.ndarray]:
    parts = [data.arrays("train"), data.arrays("test")]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def as_rows(columns: dict[str, np.ndarray]) -> list[tuple]:
    shown = lambda v: v.decode() if isinstance(v, bytes) else None if v != v else round(float(v), 3)
    return sorted(
        (tuple(shown(v) for v in row) for row in zip(*columns.values(), strict=True)), key=repr
    )


def test_every_row_is_in_one_split_with_its_values(table):
    assert table.schema.numeric == ("age", "fare")
    assert table.schema.categorical == ("city", "floor")
    assert (table.schema.task, table.schema.classes) == ("binary", ("no", "yes"))
    number = lambda text: None if text == "" else round(float(np.float32(text)), 3)
    expected = [
        (
            number(row["age"]),
            float(row["bought"] == "yes"),
            "" if row["city"] == "NA" else row["city"],
            number(row["fare"]),
            row["floor"],
        )
        for row in rows()
    ]
    assert as_rows(both(table)) == sorted(expected, key=repr)
    assert len(table.arrays("test")["age"]) == pytest.approx(40, abs=2)


def test_parquet_holds_the_same(table, tmp_path):
    parquet = opened(write_parquet(tmp_path / "people.parquet", rows()), tmp_path)
    assert [(c.name, c.kind) for c in parquet.schema.columns] == [
        (c.name, c.kind) for c in table.schema.columns
    ]
    assert as_rows(both(parquet)) == as_rows(both(table))


def test_facts_are_those_of_the_training_split_alone(table):
    train, facts = table.arrays("train"), table.facts
    numbers = np.stack([train["age"], train["fare"]]).astype(np.float64)
    np.testing.assert_allclose(facts.mean, np.nanmean(numbers, axis=1), rtol=1e-6)
    np.testing.assert_allclose(facts.deviation, np.nanstd(numbers, axis=1), rtol=1e-6)
    assert list(facts.missing) == np.isnan(numbers).sum(axis=1).tolist()
    assert facts.missing[0] > 0 == facts.missing[1]
    cities, counts = np.unique([c for c in train["city"] if c], return_counts=True)
    assert facts.categories["city"] == tuple(
        city.decode() for city in cities[np.argsort(-counts, kind="stable")]
    )
    assert facts.class_counts == tuple(np.bincount(train["bought"]).tolist())
    whole = both(table)["fare"].astype(np.float64)
    assert facts.mean[1] != pytest.approx(whole.mean(), rel=1e-6)


def test_a_category_that_only_the_test_rows_have_is_not_known(tmp_path):
    people = rows(60)
    data = opened(write_csv(tmp_path / "a.csv", people), tmp_path)
    test = {(round(float(a), 2), round(float(f), 3)) for a, f in zip(*_ages(data), strict=True)}
    for row in people:
        if (round(float(row["age"] or "nan"), 2), round(float(row["fare"]), 3)) in test:
            row["city"] = "Nowhere"
    again = opened(write_csv(tmp_path / "a.csv", people), tmp_path)
    assert b"Nowhere" in again.arrays("test")["city"]
    assert "Nowhere" not in again.facts.categories["city"]


def _ages(data):
    test = data.arrays("test")
    return test["age"], test["fare"]


def test_both_classes_are_divided_alike(table):
    train, test = (table.arrays(split)["bought"] for split in ("train", "test"))
    for label in (0, 1):
        whole = (train == label).sum() + (test == label).sum()
        assert (test == label).sum() == int(whole * 0.2)


def test_rows_of_a_group_are_never_split(tmp_path):
    people = [{**row, "household": str(n // 5)} for n, row in enumerate(rows(300))]
    path = write_csv(tmp_path / "grouped.csv", people)
    data = opened(path, tmp_path, group="household")
    assert "household" not in data.schema.numeric + data.schema.categorical
    household = {(row["age"], row["fare"]): row["household"] for row in people}
    by_fare = {round(float(np.float32(fare)), 3): h for (_, fare), h in household.items()}
    sides = [
        {by_fare[round(float(fare), 3)] for fare in data.arrays(split)["fare"]}
        for split in ("train", "test")
    ]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_balanced_batches_have_as_many_of_each_class_and_begin_anywhere(table):
    source = table.training(16, seed=1, balanced=True)
    labels = [b["bought"].numpy() for b in source.dataset(Position(0, 0, 0), Slice()).take(30)]
    assert {int(batch.sum()) for batch in labels} == {8}
    natural = table.training(16, seed=1)
    first = next(iter(natural.dataset(Position(0, 0, 0), Slice())))["bought"].numpy()
    assert first.sum() != 8
    later = next(iter(source.dataset(Position(1, 7, 0), Slice())))["bought"].numpy()
    np.testing.assert_array_equal(later, labels[source.steps_per_epoch + 7])
    # Every row of the rare class comes before one comes again.
    fares = [b["fare"].numpy() for b in source.dataset(Position(0, 0, 0), Slice()).take(30)]
    rare = np.concatenate([f[y == 1] for f, y in zip(fares, labels, strict=True)])
    count = table.facts.class_counts[1]
    assert len(set(rare[:count].tolist())) == count


def test_regression_and_many_classes_are_told_apart(tmp_path):
    path = write_csv(tmp_path / "a.csv", rows())
    fare = opened(path, tmp_path, target="fare")
    assert (fare.schema.task, fare.schema.classes) == ("regression", ())
    train = fare.arrays("train")["fare"].astype(np.float64)
    assert fare.facts.target_mean == pytest.approx(train.mean(), rel=1e-6)
    floor = opened(path, tmp_path, target="floor", categorical=())
    assert (floor.schema.task, floor.schema.classes) == ("multiclass", ("1", "2", "3"))
    positive = opened(path, tmp_path, positive="no")
    assert positive.schema.classes == ("yes", "no")


def test_what_lies_beside_a_model_comes_back(table, tmp_path):
    trained = TrainedTable(table.schema, table.facts)
    trained.write(tmp_path)
    assert TrainedTable.read(tmp_path) == trained


def test_the_whole_of_another_file_is_read_in_its_order(table, tmp_path):
    others = rows(30, seed=5)
    path = write_csv(tmp_path / "new.csv", others, ["fare", "floor", "city", "age"])
    new = like(table, path, tmp_path, has_target=False).arrays()
    np.testing.assert_allclose(new["fare"], [float(row["fare"]) for row in others], rtol=1e-6)
    assert "bought" not in new


def test_the_test_rows_are_those_of_training_also_later(table, tmp_path):
    path = str(tmp_path / "people.csv")
    same = like(table, path, tmp_path, splits=True)
    assert same.test_dir == table.test_dir
    again = like(table, path, tmp_path / "elsewhere", splits=True)
    assert as_rows(again.arrays()) == as_rows(table.arrays())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: {**row, "shoe size": "40"}, ["'shoe size' is new"]),
        (lambda row: {k: v for k, v in row.items() if k != "city"}, ["'city' is missing"]),
        (
            lambda row: {("fares" if k == "fare" else k): v for k, v in row.items()},
            ["'fare' is now 'fares'"],
        ),
        (lambda row: {**row, "fare": "a lot"}, ["'fare' had numbers and has texts"]),
        (lambda row: {**row, "city": "53111"}, ["'city' had texts and has numbers"]),
        (
            lambda row: {"age": row["age"], "level": row["floor"], "fare": "much", "bought": "no"},
            ["'city' is missing", "'floor' is missing", "'level' is new", "'fare' had numbers"],
        ),
    ],
    ids=["new", "missing", "renamed", "text for numbers", "numbers for text", "several"],
)
def test_columns_that_have_changed_are_named_in_one_sentence(table, tmp_path, change, says):
    path = write_csv(tmp_path / "new.csv", [change(row) for row in rows(30)])
    with pytest.raises(DataError) as caught:
        like(table, path, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: the columns have changed since the model was trained: ")
    for each in says:
        assert each in message
    assert "\n" not in message


def test_a_missing_target_matters_for_evaluation_only(table, tmp_path):
    path = write_csv(tmp_path / "new.csv", rows(30), ["age", "city", "floor", "fare"])
    with pytest.raises(DataError, match="'bought' is missing"):
        like(table, path, tmp_path)
    like(table, path, tmp_path, has_target=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "bougt"}, r"data.target: .*a.csv has no column 'bougt'. Did you mean 'bought'"),
        ({"ignore": ("city", "x")}, r"data.ignore: .*a.csv has no column 'x'."),
        ({"positive": "perhaps"}, r"data.positive=perhaps: it is one of two classes, .*no, yes"),
        ({"task": "multiclass"}, r"has 2 classes, which is no multiclass task"),
        ({"target": "fare", "positive": "1"}, r"'fare' is predicted as a number"),
        ({"ignore": ("age", "city", "floor", "fare"), "categorical": ()}, "no column is left"),
        ({"min_category_count": 500}, r"column 'city': no value occurs 500 times in training"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(tmp_path, settings, message):
    path = write_csv(tmp_path / "a.csv", rows(60))
    with pytest.raises((ConfigError, DataError), match=message):
        opened(path, tmp_path, **settings)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("fare", "1_000", "row 41: column 'fare': '1_000' is no number"),
        ("fare", "inf", "row 41: column 'fare': 'inf' is no number"),
        ("bought", "", "row 41: column 'bought': has no value"),
    ],
)
def test_a_bad_cell_is_named_with_its_row(tmp_path, column, cell, message):
    people = rows(80)
    people[39][column] = cell
    with pytest.raises(DataError, match=message):
        opened(write_csv(tmp_path / "a.csv", people), tmp_path)


def test_texts_for_missing_values_may_be_named(tmp_path):
    people = rows(80)
    for row in people[:20]:
        row["fare"] = "?"
    path = write_csv(tmp_path / "a.csv", people)
    data = opened(path, tmp_path, missing_values=("?",))
    assert np.isnan(both(data)["fare"]).sum() == 20


def test_true_and_false_are_numbers(tmp_path):
    people = [{**row, "member": ("true", "false", "")[n % 3]} for n, row in enumerate(rows(90))]
    data = opened(write_csv(tmp_path / "a.csv", people), tmp_path)
    member = both(data)["member"]
    assert [(member == value).sum() for value in (1, 0)] == [30, 30] and np.isnan(
        member
    ).sum() == 30


def test_timestamps_are_no_feature(tmp_path):
    people = [
        {**row, "seen": f"2026-01-{n % 28 + 1:02d}T{n:02d}:00"} for n, row in enumerate(rows(90))
    ]
    with pytest.raises(DataError, match=r"column 'seen': no value occurs 2 times .* data.ignore"):
        opened(write_csv(tmp_path / "a.csv", people), tmp_path)


def test_other_files_may_be_for_testing(tmp_path):
    train, test = rows(60, seed=1), rows(25, seed=2)
    files = [write_csv(tmp_path / f"{n}.csv", each) for n, each in enumerate((train, test))]
    data = open_table(files[0], SETTINGS, data_dir=tmp_path, test_dataset=files[1])
    assert data.facts.num_train == 60
    np.testing.assert_allclose(
        data.arrays()["fare"], [float(row["fare"]) for row in test], rtol=1e-6
    )
    assert [origin.splits for origin in data.origins] == [{"train": 60}, {"test": 25}]


def test_breast_cancer_is_scikit_learns(tmp_path):
    from sklearn.datasets import load_breast_cancer

    data = open_table("breast_cancer", TableSettings(target="diagnosis"), data_dir=tmp_path)
    assert data.schema.classes == ("benign", "malignant")
    whole, bunch = both(data), load_breast_cancer()
    key = lambda values: np.lexsort(values.T)
    ours = np.stack([whole[name] for name in bunch.feature_names], axis=1)
    theirs = bunch.data.astype(np.float32)
    np.testing.assert_array_equal(ours[key(ours)], theirs[key(theirs)])
    malignant = whole["diagnosis"][key(ours)] == 1
    np.testing.assert_array_equal(malignant, (bunch.target == 0)[key(theirs)])
    (origin,) = data.origins
    assert origin.licence == "CC BY 4.0" and "UCI" in origin.source
