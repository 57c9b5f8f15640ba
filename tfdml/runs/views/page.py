"""A run as one HTML file that needs nothing else: no script, no network, light and dark."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.monitoring import names
from tfdml.runs.views import figures, sections
from tfdml.runs.views.axes import number
from tfdml.runs.views.html import Html, element
from tfdml.runs.views.job import Job
from tfdml.runs.views.scaling import rate
from tfdml.runs.views.style import CSS
from tfdml.runs.views.task import duration
from tfdml.runs.views.worker_time import WorkerTime
from tfdml.version import __version__

# Whatever gets into the page, a browser runs no script of it and fetches nothing for it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Price:
    """Of one worker for one hour."""

    per_worker_hour: float
    currency: str

    def of(self, hours: float) -> str:
        """Two digits after the point, or as many as show something."""
        value = hours * self.per_worker_hour
        return f"{value:,.2f} {self.currency}" if value >= 1 else f"{value:.2g} {self.currency}"


def page(job: Job, others: Sequence[Job], price: Price | None) -> str:
    """The document.

    Args:
        others: runs to compare with, for efficiency and curves.
    """
    now = time.time()
    title = str(job.model_dir)
    jobs = _named([job, *others])
    body = [
        _head(job, now),
        _tiles(job, price, now),
        _section("Compared with other runs", sections.comparison(jobs)) if others else None,
        _section("Curves", figures.curves(job)),
        _section("Scaling efficiency", sections.efficiency(jobs)),
        _section("Where the time of a step goes", figures.anatomy(job)),
        _section("Exchange of gradients", sections.exchange(job)),
        _section("Starts and restarts", sections.restarts(job)),
        _section("Events", sections.events(job)),
        _section("Cost", _cost(job, price)),
        _section("Environment", sections.environment(job)),
        _section("Settings", sections.settings(job)),
        element(
            "footer",
            f"Written by tfdml {__version__}, {time.strftime('%Y-%m-%d %H:%M:%S %Z', time.localtime(now))}.",
        ),
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}: tfdml report"),
        element("style", Html(CSS)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def _named(jobs: Sequence[Job]) -> list[tuple[str, Job]]:
    """By the last part of the directory, or all of it where those are the same."""
    short = [job.model_dir.absolute().name for job in jobs]
    unique = len(set(short)) == len(short)
    return [
        (name if unique else str(job.model_dir), job) for name, job in zip(short, jobs, strict=True)
    ]


def _section(title: str, content: Html | None) -> Html | None:
    return element("section", element("h2", title), content) if content else None


def _head(job: Job, now: float) -> Html:
    start = job.chief.now
    assert start is not None
    status = job.status(now)
    look = {"finished": "good", "failed": "bad", "lost": "bad"}.get(status, "warn")
    words = [element("b", status, class_=look)]
    if job.record is not None:
        words.append(Html(""))
        about = f"recipe {job.record.name}, {job.record.workers.get('strategy', '')}"
        words.append(element("span", f" · {about.rstrip(', ')}"))
    began = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(job.chief.starts[0].began))
    size = f", global batch size {job.global_batch_size}" if job.global_batch_size else ""
    words.append(
        element(
            "span",
            f" · {job.num_workers} worker{'s' * (job.num_workers != 1)}, "
            f"{start.num_replicas} replica{'s' * (start.num_replicas != 1)}{size} · began {began}",
            class_="dim",
        )
    )
    message = (job.record.message if job.record is not None else "") or start.message
    return element(
        "header",
        element("h1", str(job.model_dir)),
        element("p", words),
        element("p", message, class_="bad") if message else None,
    )


def _tiles(job: Job, price: Price | None, now: float) -> Html:
    spent = WorkerTime.of(job)
    total = job.total_steps
    facts: list[tuple[str, str]] = []
    result = job.record.result if job.record is not None else {}
    for name, value in list(result.items())[:3]:
        facts.append((f"{name}, test data", number(value)))
    for (split, scope, name), series in job.chief.series.items():
        wanted = (split, scope) == ("validation", "epoch") and names.is_metric(name)
        if wanted and len(facts) < 5:
            facts.append((f"{name}, validation", number(series.last)))
    facts += [
        ("examples/s", number(rate(job))),
        ("steps" if not total else f"of {total:,} steps", f"{job.step:,}"),
        ("training, all starts", duration(sum(each.seconds for each in job.chief.starts))),
        ("restarts", str(job.restarts)),
        ("worker-hours", number(spent.hours)),
    ]
    if price is not None:
        facts.append(("cost of training", price.of(spent.hours)))
    tiles = [
        element("div", element("b", value), element("span", name), class_="tile")
        for name, value in facts
    ]
    return element("div", tiles, class_="tiles")


def _cost(job: Job, price: Price | None) -> Html:
    spent = WorkerTime.of(job)
    if price is None:
        text = (
            f"{number(spent.hours)} worker-hours of training. "
            "With --price_per_worker_hour the report says what they cost."
        )
        return element("p", text)
    start = job.chief.now
    assert start is not None
    rows = [
        ("worker-hours", number(spent.hours)),
        ("price of one", f"{price.per_worker_hour:g} {price.currency}"),
        ("training", element("b", price.of(spent.hours))),
    ]
    if start.steps_per_epoch and spent.steps >= start.steps_per_epoch:
        epochs = spent.steps / start.steps_per_epoch
        rows.append(("an epoch", price.of(spent.hours / epochs)))
    if spent.examples:
        rows.append(("a million examples", price.of(spent.hours / spent.examples * 1e6)))
    note = (
        "A worker-hour is an hour of one process of the job, from the start of training to its last sign of life, "
        "over all starts; starting up, evaluating afterwards and waiting between restarts are not in it."
    )
    from tfdml.runs.views.html import facts

    return element("div", facts(rows), element("p", note, class_="dim"))
