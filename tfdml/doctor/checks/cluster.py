"""Which cluster the environment describes, and whether it is one that can be."""

from __future__ import annotations

from collections.abc import Iterable

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "cluster"
# Platforms where another task than this one's has a word to say; where nothing was found, they explain why.
_HINT = "`tfdml cluster --explain` says why each platform was taken or not."


def check(subject: Subject) -> Iterable[Finding]:
    # TfdmlError where TFDML_CLUSTER names no platform: `order.py` makes a finding of it.
    found = next(tried for tried in subject.tried if tried.applies)
    if found.error is not None:
        yield Finding(NAME, "error", f"{found.name}: {found.error}", _HINT)
        return
    cluster = subject.place.cluster
    if cluster.is_local:
        how = (
            "TFDML_CLUSTER=local" if subject.around.chosen else "the environment describes no other"
        )
        if found.name != "local":
            how = f"{found.name} describes no other"
        yield Finding(
            NAME,
            "note",
            f"a single process: {how}",
            "`tfdml launch --workers=2 train.py` starts two; docs/clusters.md has the platforms.",
        )
        return
    yield Finding(NAME, "ok", f"{found.name}: {found.reason}")
    if "ps" in cluster.jobs and len(cluster.jobs.get("chief", ())) != 1:
        yield Finding(
            NAME,
            "error",
            f"the cluster has {len(cluster.jobs['ps'])} parameter server(s) and no chief to coordinate it",
            "List one task under 'chief'.",
        )
