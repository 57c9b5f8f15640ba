"""Which tasks a job has, where they are, and which of them this process is.

`resolver.py` is the contract of a platform's module, `order.py` the order in which they are tried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tfdml.cluster import order
from tfdml.cluster.order import Tried
from tfdml.cluster.resolver import Place, Surroundings
from tfdml.cluster.serve import serve
from tfdml.cluster.spec import ClusterSpec

__all__ = ["ClusterSpec", "Place", "Tried", "explain", "locate", "resolve", "serve"]


def resolve(environ: Mapping[str, str] | None = None) -> ClusterSpec:
    """The cluster that the environment describes, or `ClusterSpec.local()` where it describes none.

    Raises `ClusterError` where it describes one that is invalid: training on one worker when
    somebody asked for several would be the wrong answer.
    """
    return locate(environ).cluster


def locate(environ: Mapping[str, str] | None = None, *, platform: str | None = None) -> Place:
    """The same with what the platform says of this host: GPUs, neighbours, and its own name.

    `platform` is the only one to look for, whatever else the environment says; `ConfigError` where
    there is none of that name.
    """
    around = Surroundings(os.environ if environ is None else environ)
    *_, last = order.walk(around, platform)
    if last.error is not None:
        raise last.error
    assert last.place is not None  # The walk ends with one that applies.
    return last.place


def explain(environ: Mapping[str, str] | None = None) -> list[Tried]:
    """What each platform found or why it does not apply, in the order in which they are tried."""
    return order.explain(Surroundings(os.environ if environ is None else environ))
