"""Which tasks a job has, where they are, and which of them this process is.

A platform that describes a cluster in its own way is one module with a function
`from_environment(environ) -> ClusterSpec | None` and one entry in `_RESOLVERS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tfdml.cluster import tf_config
from tfdml.cluster.serve import serve
from tfdml.cluster.spec import ClusterSpec

__all__ = ["ClusterSpec", "resolve", "serve"]

_RESOLVERS = (tf_config.from_environment,)  # The first that finds its platform wins.


def resolve(environ: Mapping[str, str] | None = None) -> ClusterSpec:
    """The cluster that the environment describes, or `ClusterSpec.local()` where it describes none.

    Raises `ClusterError` where it describes one that is invalid: training on one worker when
    somebody asked for several would be the wrong answer.
    """
    for from_environment in _RESOLVERS:
        cluster = from_environment(os.environ if environ is None else environ)
        if cluster is not None:
            return cluster
    return ClusterSpec.local()
