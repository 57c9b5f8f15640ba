"""What a person reads and what a program reads: the same findings, errors last and with their remedies."""

from __future__ import annotations

import io
import json

import pytest

from tfdml.doctor.finding import Finding, would_fail
from tfdml.doctor.report import WIDTH, TableReport, as_json
from tfdml.errors import ConfigError

FINDINGS = [
    Finding("disk", "error", "nothing can be written to /full", "Free space there."),
    Finding("memory", "ok", "22 GiB", "not shown"),
    Finding(
        "processors", "warning", "2 of 64 CPUs", "Set TF_NUM_INTRAOP_THREADS=2.", {"cores": 64}
    ),
    Finding("brackets", "note", "a [bold]text[/bold] with [brackets] of its own"),
]


def printed(findings: list[Finding]) -> str:
    file = io.StringIO()
    report = TableReport(file)
    report.add("This host", findings)
    report.end()
    return file.getvalue()


def test_errors_come_last_with_their_remedies() -> None:
    text = printed(FINDINGS)
    table, _, end = text.partition("What would fail: 1")
    assert "error" in table and "Free space there." not in table
    assert "nothing can be written to /full" in end and end.rstrip().endswith("Free space there.")


def test_warnings_have_their_remedies_and_what_is_well_has_none() -> None:
    text = printed(FINDINGS)
    assert "Set TF_NUM_INTRAOP_THREADS=2." in text
    assert "not shown" not in text


def test_texts_are_not_taken_for_markup() -> None:
    assert "a [bold]text[/bold] with [brackets] of its own" in printed(FINDINGS)


def test_lines_keep_to_the_width_and_lose_nothing() -> None:
    words = " ".join(f"word{number}" for number in range(100))
    lines = printed([Finding("long", "error", words)]).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert all(word in "\n".join(lines) for word in words.split())


def test_without_errors_it_says_so() -> None:
    assert "Nothing here would fail; 1 warning(s)." in printed(FINDINGS[1:])
    assert printed(FINDINGS[1:2]).rstrip().endswith("Nothing here would fail.")


def test_json_is_one_document() -> None:
    document = json.loads(as_json(FINDINGS))
    assert document["would_fail"] is True
    assert [finding["level"] for finding in document["findings"]] == [
        "error",
        "ok",
        "warning",
        "note",
    ]
    assert document["findings"][2]["figures"] == {"cores": 64}
    assert json.loads(as_json(FINDINGS[1:]))["would_fail"] is False


def test_levels() -> None:
    assert would_fail(FINDINGS) and not would_fail(FINDINGS[1:])
    with pytest.raises(ConfigError, match=r"one of ok, note, warning, error, got 'fatal'"):
        Finding("x", "fatal", "")
