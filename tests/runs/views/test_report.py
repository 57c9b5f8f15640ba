"""`tfdml report`."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.runs.views.made_runs import MadeRun, finished_run
from tfdml.cli import report
from tfdml.errors import ConfigError, DataError
from tfdml.monitoring.records import Scalars
from tfdml.runs.record import RunRecord
from tfdml.runs.views.job import Job
from tfdml.runs.views.scaling import scaling
from tfdml.runs.views.worker_time import WorkerTime

EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def written(model_dir: Path, *flags: str) -> tuple[str, Page]:
    assert report.main([str(model_dir), *flags]) == 0
    text = (model_dir / "report.html").read_text()
    page = Page(text)
    assert not page.open
    return text, page


def test_it_needs_nothing_else(tmp_path: Path) -> None:
    text, page = written(finished_run(tmp_path))
    assert not {name for name, _ in page.elements} & {"script", "link", "img", "iframe", "object"}
    # Nothing that would be fetched.
    assert not [a for _, attributes in page.elements for a in attributes if a in ("src", "href")]
    assert "url(" not in text
    assert "@import" not in text
    policy = {"http-equiv": "Content-Security-Policy"}.items()
    (found,) = [a for name, a in page.elements if name == "meta" and policy <= a.items()]
    assert found["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_what_it_shows(tmp_path: Path) -> None:
    text, page = written(finished_run(tmp_path))
    for section in (
        "Curves",
        "Scaling efficiency",
        "Where the time of a step goes",
        "Exchange of gradients",
        "Starts and restarts",
        "Events",
        "Cost",
        "Environment",
        "Settings",
    ):
        assert f"<h2>{section}</h2>" in text
    assert "training 0.04979 validation 0.07468" in page.text
    # 2 MB a step, 30 steps, 2 replicas.
    assert "by all replicas in the whole run 120 MB" in page.text
    assert "4 times fewer bytes than dense float32" in page.text
    assert "worker 1 1.00 4.00 2.00 2.00 0.50 0.50 10.00" in page.text
    assert "Tasks spend 55% of a step on work of their own" in page.text
    assert "No restarts." in page.text


def test_everything_is_escaped(tmp_path: Path) -> None:
    model_dir = finished_run(
        tmp_path / "run", **{f"evil.{EVIL}": EVIL, "list": [EVIL, {"a": EVIL}]}
    )
    run = MadeRun(model_dir)
    run.start(30, settings={f"evil.{EVIL}": EVIL})
    run.event(30, "straggler", "worker 1", "input", EVIL)
    run.write(Scalars(30, 2, "train", "epoch", {EVIL: 1.0, f"update_ratio/{EVIL}": 1.0}, run.time))
    run.end(30, "failed", EVIL)
    RunRecord(
        EVIL,
        "failed",
        EVIL,
        command=EVIL,
        config={"a": EVIL},
        data=[{"name": EVIL, "digest": EVIL, "location": EVIL}],
        code={"script": EVIL, "git": {"revision": EVIL}},
        packages={EVIL: EVIL},
        hardware={"host": EVIL, EVIL: EVIL},
        process={"host": EVIL, "pid": 1, "created": 0.0},
        workers={"strategy": EVIL},
        model={EVIL: EVIL},
        result={EVIL: 1.0},
    ).write(model_dir)
    text, page = written(model_dir, f"--currency={EVIL}", "--price_per_worker_hour=2")
    assert "<script" not in text
    assert all(not name.startswith("on") for _, each in page.elements for name in each)
    assert page.text.count("<script>alert(1)</script>") > 15


def test_restarts_and_what_they_cost(tmp_path: Path) -> None:
    run = MadeRun(tmp_path)
    run.start()
    run.train(0, 17)
    run.time += 100
    run.start(10)
    run.train(10, 30)
    run.end(30)
    spent = WorkerTime.of(Job(tmp_path))
    assert (spent.repeated_steps, spent.idle_seconds) == (7, 100.0)
    assert spent.hours == pytest.approx((17 + 20) * 2 / 3600)
    _, page = written(tmp_path, "--price_per_worker_hour=3600", "--currency=EUR")
    assert "1 restart: 7 steps were trained again, and 1 min 40 s passed between" in page.text
    assert "training 74.00 EUR an epoch 24.67 EUR" in page.text  # 37 s of 2 workers, 3 epochs


def test_ps_and_their_workers_are_paid_too(tmp_path: Path) -> None:
    run = MadeRun(tmp_path, 1)
    run.start()
    run.train(0, 10)
    RunRecord("a", workers={"strategy": "parameter_server", "workers": 3, "ps": 2}).write(tmp_path)
    spent = WorkerTime.of(Job(tmp_path))
    assert (spent.processes, spent.hours) == (6, pytest.approx(10 * 6 / 3600))


def test_scaling_efficiency(tmp_path: Path) -> None:
    dirs = [
        finished_run(tmp_path / str(workers), workers, rate=rate)
        for workers, rate in ((4, 3000.0), (1, 1000.0), (2, 1800.0))
    ]
    found = scaling([(path.name, Job(path)) for path in dirs])
    assert [(each.name, each.speedup, each.efficiency) for each in found] == [
        ("1", 1.0, 1.0),
        ("2", 1.8, 0.9),
        ("4", 3.0, 0.75),
    ]
    text, page = written(dirs[0], "--compare", *map(str, dirs[1:]))
    assert "4 4 4 3,000 3.00x 75%" in page.text
    assert "<h2>Compared with other runs</h2>" in text
    assert "ideal 4,000 measured 3,000" in page.text


def test_losses_that_are_no_numbers(tmp_path: Path) -> None:
    run = MadeRun(tmp_path)
    run.start()
    run.train(0, 10)
    run.train(10, 20, loss=float("nan"))
    run.train(20, 30, loss=float("inf"))
    text, _ = written(tmp_path)
    assert not re.search(r'd="[^"]*(nan|inf)', text)


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    MadeRun(tmp_path).start()
    _, page = written(tmp_path)
    assert "Nothing was measured" in page.text


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    model_dir = finished_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        report.main([str(model_dir), "--price_per_worker_hour=-1"])
    with pytest.raises(DataError, match="no run to be seen there"):
        report.main([str(model_dir), "--compare", str(tmp_path)])
    with pytest.raises(ConfigError, match=r"cannot be written .* Give another file"):
        report.main([str(model_dir), "--output=/proc/none/report.html"])
