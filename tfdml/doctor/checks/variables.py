"""Variables that nobody reads, most of all those whose spelling is nearly right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "variables"
_PREFIX = "TFDML_"
_MENTION = re.compile(r"\bTFDML_[A-Z][A-Z_]*[A-Z]\b")
_TF_CONFIG = "TF_CONFIG"
_NEAR = 0.85
# Others that contain it and are somebody's business.
_NOT_MISSPELT = ("TF_CONFIG_FILE", "TF_CLI_CONFIG_FILE")


def check(subject: Subject) -> Iterable[Finding]:
    findings = [*_own(subject), *_tf_config(subject)]
    if not findings:
        count = sum(name.startswith(_PREFIX) for name in subject.environ)
        text = (
            f"{count} {_PREFIX}... variable(s), all known" if count else f"no {_PREFIX}... is set"
        )
        findings.append(Finding(NAME, "ok", text))
    return findings


@cache
def known_variables() -> frozenset[str]:
    """The names that the sources of this package mention: there is no list that could be out of date."""
    package = Path(__file__).parents[2]
    found: set[str] = set()
    for file in package.rglob("*.py"):
        found |= set(_MENTION.findall(file.read_text(encoding="utf-8", errors="replace")))
    return frozenset(found)


def _own(subject: Subject) -> Iterable[Finding]:
    known = known_variables()
    for name in sorted(subject.environ):
        if not name.upper().startswith(_PREFIX) or name in known:
            continue
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_NEAR)
        if near:
            text = f"{name} is read by nobody: did you mean {near[0]}?"
            yield Finding(NAME, "error", text, f"Rename it to {near[0]}, or unset it.")
        else:
            yield Finding(NAME, "warning", f"{name} is read by nobody", "Unset it.")


def _tf_config(subject: Subject) -> Iterable[Finding]:
    if _TF_CONFIG in subject.environ:
        return
    for name in sorted(subject.environ):
        alike = difflib.SequenceMatcher(None, name.upper(), _TF_CONFIG).ratio() >= _NEAR
        if alike and name not in _NOT_MISSPELT and subject.environ[name].lstrip().startswith("{"):
            yield Finding(
                NAME,
                "error",
                f"{name} is read by nobody, and TF_CONFIG is not set: did you mean that? Every task "
                "would train by itself",
                "Rename it to TF_CONFIG.",
            )
