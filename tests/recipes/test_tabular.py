"""The tabular recipe as a user runs it: real processes, breast cancer, files with gaps, machines that fail."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.data.tables.tables import rows, write_csv, write_parquet
from tests.recipes import starting
from tests.recipes.starting import ONE_PROCESS, TWO_WORKERS, hashes, losses

REPOSITORY = Path(__file__).parents[2]
RECIPE = REPOSITORY / "recipes" / "train_tabular.py"
CONFIGS = REPOSITORY / "configs" / "tabular"
PEOPLE = ("--set=data.target=bought", "--set=data.categorical=[floor]", "--set=train.epochs=4")
PEOPLE = (*PEOPLE, "--set=model.name=wide_and_deep", "--set=model.crosses=[[city, floor]]")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What a user of an exported model has: its directory, raw rows, and Keras.
PLAIN_PROCESS = """
import csv, json, sys
import keras, numpy as np, tensorflow as tf
directory, rows, numeric = sys.argv[1], list(csv.DictReader(open(sys.argv[2]))), sys.argv[3].split(",")
number = lambda text: float(text) if text else float("nan")
category = lambda text: "" if text == "NA" else text
columns = {
    name: tf.constant(
        [number(row[name]) for row in rows] if name in numeric else [category(row[name]) for row in rows]
    )
    for name in sys.argv[4].split(",")
}
by_keras = keras.saving.load_model(directory + "/model.keras")(columns).numpy()[:, 0]
served = tf.saved_model.load(directory)
by_tensorflow = served.serve(columns).numpy()[:, 0]
assert not [name for name in sys.modules if name.split(".")[0] == "tfdml"]
print("answers:", json.dumps([by_keras.tolist(), by_tensorflow.tolist()]))
"""


start = partial(starting.run, script=RECIPE)
train = partial(starting.train, "tabular")


def pr_auc(output: str) -> float:
    (value,) = re.findall(r"test PR-AUC: (\S+) \(average precision, exact", output)
    return float(value)


def predicted(file: Path, column: str) -> np.ndarray:
    with file.open() as lines:
        return np.array([float(row[column]) for row in csv.DictReader(lines)])


def test_breast_cancer_reaches_its_result_with_one_worker_and_with_two(tmp_path, data_dir):
    found = {"one": [], "two": []}
    for seed in (0, 1, 2):
        words = (f"--seed={seed}", f"--model_dir=one-{seed}")
        one = train(ONE_PROCESS, tmp_path, data_dir, "default", *words)
        words = (f"--seed={seed}", f"--model_dir=two-{seed}")
        two = train(TWO_WORKERS, tmp_path, data_dir, "multi_worker", *words)
        found["one"].append(pr_auc(one))
        found["two"].append(pr_auc(two))
        first, second = hashes(two)
        assert first == second
        curves = (losses(tmp_path / f"{name}-{seed}") for name in ("two", "one"))
        np.testing.assert_allclose(*curves, atol=1e-3)
    print({name: np.mean(values) for name, values in found.items()})
    assert all(np.mean(values) >= 0.99 for values in found.values())
    # The saved model is the trained one, and so are its figures.
    again = train(
        ONE_PROCESS, tmp_path, data_dir, "default", "--mode=evaluate", "--model_dir=two-2"
    )
    assert hashes(again) == [first]
    assert pr_auc(again) == found["two"][-1]
    record = json.loads((tmp_path / "two-2" / "run.json").read_text())
    assert record["result"]["pr_auc"] == pytest.approx(found["two"][-1], abs=1e-4)
    card = (tmp_path / "two-2" / "model_card.md").read_text()
    assert "Licence: CC BY 4.0" in card and "`pr_auc`" in card


@pytest.fixture(scope="module")
def people(tmp_path_factory, data_dir) -> Path:
    """A directory with people.csv and a model of it in `model`, trained by two workers."""
    directory = tmp_path_factory.mktemp("people")
    write_csv(directory / "people.csv", rows(400))
    words = ("--set=data.dataset=people.csv", "--model_dir=model", *PEOPLE)
    words = (*words, "--set=imbalance.sampling=balanced", "--set=evaluation.slice_by=city")
    output = train(TWO_WORKERS, directory, data_dir, "multi_worker", *words)
    first, second = hashes(output)
    assert first == second
    assert pr_auc(output) > 0.5
    return directory


def again(people: Path, data_dir: Path, mode: str, *words: str):
    words = (
        *PEOPLE,
        "--model_dir=model",
        f"--mode={mode}",
        f"--set=data.data_dir={data_dir}",
        *words,
    )
    return start(ONE_PROCESS, people, *words)


def test_two_workers_learn_a_file_with_gaps_as_one_device_does(people, data_dir):
    words = ("--set=data.dataset=people.csv", "--model_dir=one", *PEOPLE)
    words = (*words, "--set=imbalance.sampling=balanced")
    train(ONE_PROCESS, people, data_dir, "default", *words)
    np.testing.assert_allclose(losses(people / "model"), losses(people / "one"), atol=1e-4)
    slices = json.loads((people / "model" / "run.json").read_text())["slices"]["city"]
    assert set(slices) == {"(missing)", "Bonn", "Köln", "Mainz, old town"}
    assert sum(each["examples"] for each in slices.values()) in (79, 80)


def test_an_exported_model_answers_raw_rows_as_the_training_process_does(
    people, data_dir, tmp_path
):
    new = rows(50, seed=7)
    new[3]["city"] = "Nowhere"
    path = write_csv(tmp_path / "new.csv", new, ["fare", "city", "floor", "age"])
    for mode, *words in (
        ("export", "--set=data.dataset=people.csv", f"--export_dir={tmp_path / 'exported'}"),
        ("predict", f"--predict_input={path}", f"--predict_output={tmp_path / 'out.csv'}"),
    ):
        done = again(people, data_dir, mode, *words)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PLAIN_PROCESS,
            str(tmp_path / "exported"),
            path,
            "age,fare",
            "age,city,floor,fare",
        ],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    answers = np.array(json.loads(done.stdout.partition("answers: ")[2]))
    ours = predicted(tmp_path / "out.csv", "probability of yes")
    assert len(ours) == 50 and ours.std() > 0.05
    np.testing.assert_allclose(answers[0], ours, atol=1e-5)
    np.testing.assert_allclose(answers[1], ours, atol=1e-5)


def test_parquet_is_predicted_as_csv_is(people, data_dir, tmp_path):
    for file in (
        write_csv(tmp_path / "a.csv", rows(50, seed=8)),
        write_parquet(tmp_path / "a.parquet", rows(50, seed=8)),
    ):
        words = (f"--predict_input={file}", f"--predict_output={file}.out.csv")
        done = again(people, data_dir, "predict", *words)
        assert done.returncode == 0, done.stderr
    outputs = [
        predicted(tmp_path / f"a.{kind}.out.csv", "probability of yes")
        for kind in ("csv", "parquet")
    ]
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_a_header_that_changed_since_training_is_one_sentence(people, data_dir, tmp_path, mode):
    changed = [
        {**{k if k != "fare" else "fares": v for k, v in row.items() if k != "city"}, "shoe": "40"}
        for row in rows(30)
    ]
    path = write_csv(tmp_path / "new.csv", changed)
    word = f"--predict_input={path}" if mode == "predict" else f"--set=data.dataset={path}"
    done = again(people, data_dir, mode, word)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line == (
        f"error: {path}: the columns have changed since the model was trained: 'fare' is now 'fares'; "
        "'city' is missing; 'shoe' is new. Give it the columns of training (data.ignore leaves out new ones), "
        "or train again."
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set=data.dataset=people.csv"], "data.target is not set: which column of people.csv"),
        (["--set=data.dataset=no.csv", "--set=data.target=x"], "no.csv: no file matches"),
        (["--set=model.name=convolution"], "model.name=convolution is for windows"),
        (["--set=imbalance.class_weights={bad: 2.0}"], "there is no class 'bad'; there are benign"),
        (["--set=data.windows.length=5"], "has no column 'machine'"),
    ],
)
def test_bad_settings_are_one_sentence(people, words, message):
    done = start(ONE_PROCESS, people, "--model_dir=bad", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line


def test_machines_that_fail_soon_are_found(tmp_path, data_dir):
    preset = f"--config={CONFIGS / 'predictive_maintenance.yaml'}"
    output = train(ONE_PROCESS, tmp_path, data_dir, "default", preset, "--model_dir=machines")
    assert 0.87 <= pr_auc(output) < 0.95
    words = (preset, "--set=model.name=convolution", "--model_dir=convolution")
    assert 0.85 <= pr_auc(train(ONE_PROCESS, tmp_path, data_dir, "default", *words)) < 0.95
    words = (preset, "--model_dir=machines", "--mode=predict")
    train(ONE_PROCESS, tmp_path, data_dir, "default", *words)
    with (tmp_path / "machines" / "predictions.csv").open() as file:
        first = next(csv.DictReader(file))
    assert set(first) == {"machine", "hour", "prediction", "probability of fails soon"}
    words = (preset, "--model_dir=later", "--set=data.windows.split_by=time")
    assert pr_auc(train(ONE_PROCESS, tmp_path, data_dir, "default", *words)) > 0.7


@pytest.mark.parametrize("target", ["fare", "floor"])
def test_numbers_and_many_classes_are_predicted(tmp_path, data_dir, target):
    write_csv(tmp_path / "people.csv", rows(200))
    words = ("--set=data.dataset=people.csv", f"--set=data.target={target}", "--set=train.epochs=3")
    output = train(ONE_PROCESS, tmp_path, data_dir, "default", *words, "--model_dir=m")
    expected = {"fare": {"rmse", "mae", "r2"}, "floor": {"accuracy", "pr_auc"}}[target]
    assert expected <= set(json.loads((tmp_path / "m" / "run.json").read_text())["result"])
    assert "test " in output
    train(ONE_PROCESS, tmp_path, data_dir, "default", *words, "--model_dir=m", "--mode=predict")
    with (tmp_path / "m" / "predictions.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) in (35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45)
    if target == "floor":
        assert {line["prediction"] for line in lines} <= {"1", "2", "3"}
