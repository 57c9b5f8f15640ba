"""Compressions without the dense steps that some of them begin with, for what is timed."""

from __future__ import annotations

from typing import Any

WARM_UP = {
    **dict.fromkeys(("topk", "randomk", "signsgd", "powersgd"), "start_step"),
    "dgc": "warmup_steps",
}


def from_the_first_step(name: str) -> str | dict[str, Any]:
    """What to give as `compression` for `name`."""
    return {"name": name, WARM_UP[name]: 0} if name in WARM_UP else name
