"""What can be seen of a job while it runs: its stacks, a frame of it, and what Prometheus scrapes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runs.views.browser import browser, needs_chromium
from tests.runs.views.live_job import SECONDS, LiveJob, free_ports, stacks_by_task, tfdml
from tfdml.errors import DataError
from tfdml.runs.views.job import Job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveJob]:
    job = LiveJob(tmp_path_factory.mktemp("live"))
    try:
        job.wait_until(lambda: steps_of(job) > 40)
        yield job
    finally:
        job.close()


def steps_of(job: LiveJob) -> int:
    """Of its slower task; 0 before there is something to see."""
    try:
        tasks = Job(job.model_dir).tasks
    except DataError:
        return 0
    return min(task.now.last_step if task.now else 0 for task in tasks)


def test_stacks_of_a_job_that_hangs(job: LiveJob) -> None:
    """The one who hangs is told from the one who waits; both go on when the reason has gone."""
    (job.directory / "hang").touch()
    seen: dict[str, str] = {}

    def hangs() -> bool:
        done = tfdml("stacks", str(job.model_dir))
        assert done.returncode == 0, done.stderr
        seen.update(stacks_by_task(done.stdout))
        return "in stuck_here" in seen["worker 1"]

    job.wait_until(hangs)
    time.sleep(1)  # and worker 0 has come to where it waits
    assert hangs()
    assert set(seen) == {"worker 0", "worker 1"}
    assert "in stuck_here" not in seen["worker 0"]
    # The end of an epoch is agreed on by all tasks, and that is where the other one waits.
    assert "agreement.py" in seen["worker 0"]
    assert all("(most recent call first)" in text for text in seen.values())
    before = Job(job.model_dir).step
    (job.directory / "hang").unlink()
    job.wait_until(lambda: Job(job.model_dir).step > before + 20)


def test_a_frame_while_it_runs(job: LiveJob) -> None:
    done = tfdml("top", "--once", str(job.model_dir))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("worker ")]
    assert [row[1:3] for row in rows] == [["0", "training"], ["1", "training"]]
    assert all("c" in row[5] for row in rows), done.stdout


@pytest.mark.prometheus
@needs_prometheus
def test_a_prometheus_server_scrapes_both_workers(job: LiveJob, tmp_path: Path) -> None:
    targets = [f"127.0.0.1:{port}" for port in job.ports]
    for target in targets:
        page = urllib.request.urlopen(f"http://{target}/metrics", timeout=10).read()
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60
        )
        assert checked.returncode == 0, checked.stderr.decode()
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "tfdml", "static_configs": [{"targets": targets}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    port = free_ports(1)[0]
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        job.wait_until(lambda: len(query(port, "tfdml_examples_per_second > 0")) == 2)
        before = query(port, "tfdml_steps_total")
        assert set(before) == {"worker 0", "worker 1"}
        shown = Job(job.model_dir).step
        assert all(0 < steps <= shown + 200 for steps in before.values())
        job.wait_until(
            lambda: min(query(port, "tfdml_steps_total").values()) > max(before.values())
        )
        # As dashboard and alerts ask for it.
        assert len(query(port, "rate(tfdml_steps_total[30s]) > 0")) == 2
        assert max(query(port, "time() - tfdml_last_step_timestamp_seconds").values()) < 60
        assert len(query(port, 'tfdml_step_part_seconds{part="computing"} > 0')) == 2
        assert len(query(port, "up == 1", by="instance")) == 2
    finally:
        server.terminate()
        try:
            server.wait(20)
        finally:
            server.kill()
            server.wait()


def query(port: int, text: str, by: str = "task") -> dict[str, float]:
    """The answer, by task; none while the server is not there yet."""
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(text)}"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            content: dict[str, Any] = json.load(answer)
    except OSError:
        return {}
    assert content["status"] == "success", content
    return {each["metric"][by]: float(each["value"][1]) for each in content["data"]["result"]}


@pytest.mark.browser
@needs_chromium
def test_tensorboard_shows_it(job: LiveJob, tmp_path: Path) -> None:
    """By what its server answers, and by what a browser shows; a screenshot is kept in TFDML_SCREENSHOTS."""
    pictures = Path(os.environ.get("TFDML_SCREENSHOTS") or tmp_path)
    with tensorboard(job.model_dir) as address:
        scalars = answer(f"{address}/data/plugin/scalars/tags")
        for name in ("loss", "accuracy"):
            assert name in scalars["train"] and name in scalars["validation"], scalars
        assert {"optimizer/learning_rate", "throughput/examples_per_second"} <= set(
            scalars["train"]
        )
        assert "anatomy/worker 1/communicating" in scalars["train"]
        points = answer(f"{address}/data/plugin/scalars/scalars?run=validation&tag=loss")
        assert len(points) > 2
        assert "config" in answer(f"{address}/data/plugin/text/tags")["."]
        assert "predictions" in answer(f"{address}/data/plugin/images/tags")["."]
        with browser(tmp_path / "profile") as page:
            for route, texts in {
                "timeseries": ("loss", "accuracy", "optimizer", "throughput"),
                "images": ("predictions", "step"),
                "text": ("config", "train.global_batch_size: 32"),
                "hparams": ("optimizer.learning_rate", "train.global_batch_size"),
                "custom_scalars": ("anatomy", "a step of worker 0", "a step of worker 1"),
            }.items():
                page.open("about:blank")
                page.open(f"{address}/#{route}", width=1400, height=900)
                page.wait_for(*texts)
                time.sleep(2)  # charts draw themselves after their names
                page.screenshot(pictures / f"tensorboard-{route}.png")
                assert (pictures / f"tensorboard-{route}.png").stat().st_size > 10_000


@contextmanager
def tensorboard(logdir: Path) -> Iterator[str]:
    """Its address; with the data of `logdir` loaded."""
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tensorboard.main", "--host=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(
        [*command, f"--logdir={logdir}", "--reload_interval=1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while "validation" not in answer(f"{address}/data/plugin/scalars/tags"):
            assert server.poll() is None and time.monotonic() < deadline, "no TensorBoard"
            time.sleep(0.3)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answer(address: str) -> Any:
    """JSON; nothing while the server is not there yet."""
    try:
        with urllib.request.urlopen(address, timeout=30) as content:
            return json.load(content)
    except OSError:
        return {}


def test_traces_of_both_tasks(job: LiveJob) -> None:
    """Where TensorBoard's plug-in looks for them, with the ops of the steps in them."""
    for task in ("worker-0", "worker-1"):
        found = list((job.model_dir / "profile" / task).glob("plugins/profile/*/*.xplane.pb"))
        assert len(found) == 1, found
        content = found[0].read_bytes()
        assert b"MatMul" in content
        assert b"CollectiveGather" in content


def test_it_ends_well_after_all_that(job: LiveJob) -> None:
    """The last of this file: nobody's looking has disturbed it."""
    assert job.finish() == 0, job.log
    assert job.log.count("trained") == 2
    done = tfdml("top", "--once", str(job.model_dir))
    assert " finished " in done.stdout
    asked = tfdml("stacks", str(job.model_dir))
    assert asked.returncode == 2
    assert "no task of it can be asked here: worker 0 does not run: finished" in asked.stderr
