"""The recommender as a user runs it: real processes, embedded interactions, files shaped as MovieLens has them."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.data.interactions.movielens_shaped import write_ratings
from tests.recipes import starting
from tests.recipes.starting import ONE_PROCESS, TWO_WORKERS, hashes, losses

REPOSITORY = Path(__file__).parents[2]
RECIPE = REPOSITORY / "recipes" / "train_recommender.py"
CONFIGS = REPOSITORY / "configs" / "recommender"
WITH_PS = [*TWO_WORKERS, "--ps=2"]
LIMIT = 1.05  # of the best reachable error


start = partial(starting.run, script=RECIPE)
train = partial(starting.train, "recommender")


def ratings(output: str) -> tuple[float, float, float]:
    """(RMSE, of the means, best reachable)."""
    pattern = r"test RMSE: (\S+) \(user and item means: ([\d.]+)(?:, best reachable: ([\d.]+))?\)$"
    ((rmse, means, best),) = re.findall(pattern, output, re.MULTILINE)
    return float(rmse), float(means), float(best or "nan")


def rankings(output: str) -> np.ndarray:
    """[3, 2]: recall and NDCG of the model, of the most popular items, of the true preferences."""
    (line,) = re.findall(r"test recall@10: .*$", output, re.MULTILINE)
    return np.array(re.findall(r"@10: ([\d.]+)", line), float).reshape(3, 2)


def test_a_bad_row_and_a_misspelt_setting_are_one_sentence(tmp_path):
    (tmp_path / "u.data").write_text("1\t2\t3\t4\n" * 30 + "1\t2\tgood\t4\n")
    done = start(ONE_PROCESS, tmp_path, "--set=data.dataset=u.data")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    expected = "error: u.data, row 31: column 'rating': 'good' is no number. Correct the row, or"
    assert expected in done.stderr
    done = start(ONE_PROCESS, tmp_path, "--set=model.factor=8")
    assert done.returncode == 2
    assert "did you mean `model.factors`?" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["matrix_factorization", "dlrm"])
def test_one_device_reaches_the_bound(tmp_path, data_dir, model):
    settings = ("--model_dir=one", f"--set=model.name={model}")
    output = train(ONE_PROCESS, tmp_path, data_dir, "default", *settings)
    rmse, means, best = ratings(output)
    assert best * 0.99 < rmse <= best * LIMIT < means
    # The saved model is the trained one.
    again = train(ONE_PROCESS, tmp_path, data_dir, "default", *settings, "--mode=evaluate")
    assert hashes(again) == hashes(output)
    assert ratings(again) == (rmse, means, best)
    assert list((tmp_path / "one" / "train").glob("events.out.tfevents.*"))
    # Another one is not it.
    other = (*settings, f"--set=data.data_dir={data_dir}", "--set=model.factors=5")
    done = start(ONE_PROCESS, tmp_path, *other, "--mode=evaluate")
    assert done.returncode == 2, done.stderr
    assert (
        "error: one/model.keras is of another model: the first layer that differs is" in done.stderr
    )
    assert re.search(r"\b4\]\) in the file and '.*\b5\]\) in the model", done.stderr), done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_and_two_devices_learn_as_one_device_does(tmp_path, data_dir):
    short = ("--set=train.epochs=4",)
    one = train(ONE_PROCESS, tmp_path, data_dir, "default", "--model_dir=one", *short)
    two = train(TWO_WORKERS, tmp_path, data_dir, "multi_worker", "--model_dir=two", *short)
    mirrored = ("--model_dir=mirrored", "--set=strategy.num_virtual_devices=2", *short)
    both = train(ONE_PROCESS, tmp_path, data_dir, "mirrored", *mirrored)
    first, second = hashes(two)
    assert first == second
    for name in ("two", "mirrored"):
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "one"), atol=1e-4)
    for output in (two, both):
        np.testing.assert_allclose(ratings(output), ratings(one), atol=2e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_parameter_servers_reach_the_bound(tmp_path, data_dir):
    output = train(WITH_PS, tmp_path, data_dir, "parameter_server", "--model_dir=ps")
    rmse, _, best = ratings(output)
    assert best * 0.99 < rmse <= best * LIMIT
    # One device reads what parameter servers have learned.
    again = train(ONE_PROCESS, tmp_path, data_dir, "default", "--model_dir=ps", "--mode=evaluate")
    assert hashes(again) == hashes(output)
    assert ratings(again)[0] == pytest.approx(rmse, abs=2e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_towers_find_more_than_popularity_does(tmp_path, data_dir):
    settings = ("--set=model.name=two_tower", "--set=model.factors=16", "--model_dir=towers")
    model, popular, truth = rankings(train(ONE_PROCESS, tmp_path, data_dir, "default", *settings))
    assert np.all(model > 1.3 * popular)
    assert np.all(model < truth)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_matrix_factorization_beats_the_means_on_a_file_shaped_as_movielens_100k(tmp_path):
    write_ratings(tmp_path / "u.data")
    words = ("--set=data.dataset=u.data", "--model_dir=movielens")
    rmse, means, _ = ratings(train(ONE_PROCESS, tmp_path, tmp_path, "default", *words))
    assert rmse < 0.99 * means
