"""The cluster as the TF_CONFIG variable describes it."""

from __future__ import annotations

from collections.abc import Mapping

from tfdml.cluster.spec import ClusterSpec


def from_environment(environ: Mapping[str, str]) -> ClusterSpec | None:
    """The cluster in TF_CONFIG, or None where it is unset or empty. Raises `ClusterError`."""
    text = environ.get("TF_CONFIG", "").strip()
    return ClusterSpec.from_tf_config(text) if text else None
