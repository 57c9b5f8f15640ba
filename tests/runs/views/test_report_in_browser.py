"""The page of `tfdml report` as a browser shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.views.browser import browser, needs_chromium
from tests.runs.views.made_runs import finished_run
from tfdml.cli import report

pytestmark = [pytest.mark.slow, pytest.mark.browser, needs_chromium]


def test_light_dark_and_narrow(tmp_path: Path) -> None:
    """Nothing is fetched, no script runs, colours follow the system, and nothing sticks out on a telephone."""
    evil = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
    one = finished_run(tmp_path / "one", 1, rate=600.0)
    two = finished_run(tmp_path / "two", 2, evil=evil, long="x" * 500)
    report.main([str(two), "--compare", str(one), "--price_per_worker_hour=2.5"])
    address = (two / "report.html").as_uri()
    grounds = {}
    with browser(tmp_path / "profile") as page:
        for dark in (False, True):
            page.open(address, dark=dark)
            page.wait_for("Scaling efficiency", "onerror=", "cost of training")
            grounds[dark] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.open(address, width=400)
        page.wait_for("Scaling efficiency")
        page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.evaluate("document.title").endswith("tfdml report")
        assert page.evaluate("document.querySelectorAll('svg').length") > 8
        empty = (
            "[...document.querySelectorAll('svg')].filter((s) => s.getBBox().height < 10).length"
        )
        assert page.evaluate(empty) == 0
        assert {url for url in page.requests() if not url.startswith("about:")} == {address}
        assert page.errors() == []
    assert grounds == {False: "rgb(255, 255, 255)", True: "rgb(20, 23, 28)"}
