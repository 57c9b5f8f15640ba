"""The files of docs/monitoring.md: a dashboard and alerts whose names exist, alerts that fire, a script that runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.guides import code_blocks
from tests.runs.views.live_job import free_ports
from tests.runs.views.made_runs import finished_run
from tfdml.monitoring import names
from tfdml.monitoring.prometheus_page import _GAUGES, PrometheusPage
from tfdml.monitoring.records import PARTS, Anatomy, Event, Scalars, Started, TaskAnatomy

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = DOCS / "prometheus-alerts.yml"
DASHBOARD = DOCS / "grafana-dashboard.json"


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Name -> names of labels, of all that a task ever tells."""
    values = dict.fromkeys((*_GAUGES, names.EXAMPLES, names.SKIPPED_STEPS, "loss"), 1.0)
    parts = dict.fromkeys(PARTS, 0.1)
    port = free_ports(1)[0]
    page = PrometheusPage("127.0.0.1", port, "worker 0")
    try:
        page.write(Started("worker 0", ("worker 0",), 0, 1, None, 1, None, "host", 1))
        page.write(Scalars(1, 0, "train", "step", values))
        page.write(Anatomy(1, 0, [TaskAnatomy("worker 0", 0.6, parts, {})], 0.0))
        page.write(Event(1, "straggler", "worker 1", "input", "it is slow"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        page.close()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def dashboard_expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


EXPRESSIONS = [*dashboard_expressions(), *(rule["expr"] for rule in rules())]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_exists(metrics: dict[str, set[str]], expression: str) -> None:
    found = re.findall(r"\b((?:tfdml|process)_\w+)(?:\{(.*?)\})?", expression)
    # Prometheus has `up` of its own.
    assert found or "up{" in expression
    for name, selector in found:
        assert name in metrics, expression
        for label in re.findall(r"(\w+)\s*(?:=~|!=|=)", selector):
            assert label in metrics[name] | {"job", "instance"}, expression


def test_the_dashboard_shows_all_that_there_is(metrics: dict[str, set[str]]) -> None:
    shown = " ".join(dashboard_expressions())
    own = {name for name in metrics if name.startswith("tfdml_") and not name.endswith("_created")}
    assert own == set(re.findall(r"tfdml_\w+", shown))


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {each["name"] for each in dashboard["templating"]["list"]} == {
        "datasource",
        "job",
        "task",
    }
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_alert_says_what_and_where() -> None:
    for rule in rules():
        assert rule["alert"].startswith("Tfdml")
        assert "{{" in rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")


# (series, values by minute), what fires after 30 minutes; up of the other task, where that matters.
FIRING: dict[str, list[tuple[str, str]]] = {
    "TfdmlTrainingStandsStill": [
        ('tfdml_last_step_timestamp_seconds{job="tfdml",instance="a",task="worker 0"}', "0x60")
    ],
    "TfdmlTaskGone": [
        ('up{job="tfdml",instance="a"}', "1x60"),
        ('up{job="tfdml",instance="b"}', "1 1 0x60"),
    ],
    "TfdmlLossNotFinite": [
        (
            'tfdml_metric{job="tfdml",instance="a",name="loss",split="train",task="w"}',
            "1 1 " + 60 * "NaN ",
        )
    ],
    "TfdmlReplicasDiffer": [
        ('tfdml_events_total{job="tfdml",instance="a",kind="desync",task="w"}', "_x10 1x60")
    ],
    "TfdmlStraggler": [
        ('tfdml_straggler{job="tfdml",instance="a",task="worker 1",cause="input"}', "0x5 1x60")
    ],
    "TfdmlWaitsForInput": [
        ('tfdml_step_part_seconds{job="tfdml",instance="a",task="w",part="input"}', "0.4x60"),
        ('tfdml_step_seconds{job="tfdml",instance="a",task="w"}', "1x60"),
    ],
    "TfdmlManySkippedSteps": [
        ('tfdml_skipped_steps_total{job="tfdml",instance="a",task="w"}', "0+10x60"),
        ('tfdml_steps_total{job="tfdml",instance="a",task="w"}', "0+100x60"),
    ],
    "TfdmlSlowerThanBefore": [
        ('tfdml_examples_per_second{job="tfdml",instance="a",task="w"}', "100x600 10x60")
    ],
    "TfdmlMemoryGrows": [
        ('process_resident_memory_bytes{job="tfdml",instance="a"}', "100x120 200x60")
    ],
}
MINUTES = {"TfdmlSlowerThanBefore": 630, "TfdmlMemoryGrows": 160}
# The same, of a training that is well.
QUIET = [
    ('tfdml_last_step_timestamp_seconds{job="tfdml",instance="a",task="worker 0"}', "0+60x700"),
    ('up{job="tfdml",instance="a"}', "1x700"),
    ('up{job="tfdml",instance="b"}', "1x700"),
    ('tfdml_metric{job="tfdml",instance="a",name="loss",split="train",task="w"}', "1x700"),
    ('tfdml_events_total{job="tfdml",instance="a",kind="straggler",task="w"}', "1x700"),
    ('tfdml_straggler{job="tfdml",instance="a",task="worker 1",cause="input"}', "0 1 1 0x700"),
    ('tfdml_step_part_seconds{job="tfdml",instance="a",task="w",part="input"}', "0.2x700"),
    ('tfdml_step_seconds{job="tfdml",instance="a",task="w"}', "1x700"),
    ('tfdml_skipped_steps_total{job="tfdml",instance="a",task="w"}', "0+1x700"),
    ('tfdml_steps_total{job="tfdml",instance="a",task="w"}', "0+100x700"),
    ('tfdml_examples_per_second{job="tfdml",instance="a",task="w"}', "100x600 70x100"),
    ('process_resident_memory_bytes{job="tfdml",instance="a"}', "100x700"),
]


def test_the_script_that_reads_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of docs/monitoring.md, as it stands there."""
    finished_run(tmp_path / "runs" / "digits")
    monkeypatch.chdir(tmp_path)
    (script,) = [
        block
        for block in code_blocks((DOCS / "monitoring.md").read_text(), "python")
        if "read_all" in block
    ]
    exec(compile(script, "monitoring.md", "exec"), {})
    assert capsys.readouterr().out == "worker 0 1000.0\nworker 1 1000.0\n"


@pytest.mark.slow
@pytest.mark.prometheus
@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian: apt-get install prometheus)",
)
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    assert {rule["alert"] for rule in rules()} == set(FIRING)
    checked = subprocess.run(
        ["promtool", "check", "rules", ALERTS], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tests = [
        {"input_series": _series(series), "promql_expr_test": [_fires(alert)]}
        for alert, series in FIRING.items()
    ]
    quiet = [
        {
            "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
            "eval_time": f"{MINUTES.get(alert, 30)}m",
            "exp_samples": [],
        }
        for alert in FIRING
    ]
    tests.append({"input_series": _series(QUIET), "promql_expr_test": quiet})
    file = tmp_path / "alerts.test.yml"
    content = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", **each} for each in tests],
    }
    file.write_text(yaml.safe_dump(content))
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _series(series: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series]


def _fires(alert: str) -> dict[str, Any]:
    return {
        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
        "eval_time": f"{MINUTES.get(alert, 30)}m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
