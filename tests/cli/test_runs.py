"""`tfdml runs`, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.runs.records import make_version, write_run
from tfdml.cli import main as cli


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tfdml(*words: str) -> int:
    return cli.main(["runs", *words])


def test_list_has_a_line_for_each_run(tmp_path, capsys):
    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", status="failed", message="ValueError: x", result={})
    (tmp_path / "runs" / "c").mkdir()
    (tmp_path / "runs" / "c" / "run.json").write_text("{")
    make_version(tmp_path / "runs" / "a", 1)
    assert tfdml("list") == 0
    head, first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "recipe", "status"]
    for words in ("runs/a", "finished", "accuracy 0.9700, loss 0.1000"):
        assert words in first
    assert first.endswith(" 1")
    assert "failed" in second
    assert "damaged" in third
    assert tfdml("list", "--json", str(tmp_path)) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["status"] for each in listed] == ["finished", "failed"]
    assert listed[0]["versions"] == [1]
    assert tfdml("list", "runs/c") == 0


def test_show_says_what_it_was(tmp_path, capsys):
    write_run(tmp_path / "a", compared_with={"3 neighbours": {"accuracy": 0.98}})
    assert tfdml("show", "a") == 0
    shown = capsys.readouterr().out
    for words in ("digits 0123456789ab", "a CPU", "3 neighbours", "0.9800", "accuracy   0.9700"):
        assert words in shown
    assert tfdml("show", "a", "--json") == 0
    assert json.loads(capsys.readouterr().out)["result"] == {"accuracy": 0.97, "loss": 0.1}


def test_compare_is_a_gate(tmp_path, capsys):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", result={"accuracy": 0.95, "loss": 0.1}, config={"train": {"seed": 7}})
    assert tfdml("compare", "a", "b") == 0
    shown = capsys.readouterr().out
    assert "train.seed" in shown
    assert tfdml("compare", "a", "b", "--fail-if-worse=accuracy:0.03") == 0
    assert tfdml("compare", "b", "a", "--fail_if_worse=accuracy:0.01") == 0
    capsys.readouterr()
    assert (
        tfdml("compare", "a", "b", "--fail_if_worse=loss:0", "--fail_if_worse=accuracy:0.01") == 1
    )
    error = capsys.readouterr().err
    assert error == (
        "b: accuracy is worse by 0.02: 0.95 after 0.97, and higher is better; 0.01 would be tolerated.\n"
    )
    assert tfdml("compare", "a", "b", "--json", "--fail_if_worse=accuracy:0.01") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["differences"]["train.seed"] == [1, 7]
    assert len(told["worse"]) == 1


def test_metrics_of_slices_are_shown_where_they_differ(tmp_path, capsys):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", slices={"label": {"8": {"examples": 34, "accuracy": 0.5}}})
    tfdml("compare", "a", "b")
    assert "accuracy[label=8]   0.8800   0.5000" in capsys.readouterr().out
    tfdml("compare", "a", "a")
    assert "label=8" not in capsys.readouterr().out


def test_promote_and_rollback(tmp_path, capsys):
    write_run(tmp_path / "a")
    for number in (1, 2):
        make_version(tmp_path / "a", number)
    assert tfdml("promote", "a", "1") == 0
    assert tfdml("promote", "a", "2") == 0
    assert tfdml("rollback", "a") == 0
    assert capsys.readouterr().out.splitlines() == [
        "version 1 is the current one of a",
        "version 2 is the current one of a; before it was 1",
        "version 1 is the current one of a again; it was 2",
    ]
    tfdml("list", "a")
    assert "  1 (current), 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "nothing"], "error: nothing: no such directory."),
        (["show", "nothing"], "error: nothing holds no run.json"),
        (["compare", "a", "a", "--fail_if_worse=accuracy"], "error: --fail_if_worse takes metric:"),
        (["promote", "a", "3"], "error: a has no exported versions."),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, words, message):
    write_run(tmp_path / "a")
    with pytest.raises(SystemExit) as caught:
        tfdml(*words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_it_answers_without_tensorflow(tmp_path):
    write_run(tmp_path / "a")
    program = (
        "import sys; from tfdml.cli.main import main; status = main(['runs', 'list', '.']); "
        "assert 'tensorflow' not in sys.modules; sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
