"""The metadata server of a Google Compute Engine VM, and the sign that there is one.

Without the sign nothing is asked: elsewhere the name of the server would have to time out first.
"""

from __future__ import annotations

from tfdml.cluster.resolver import Surroundings

_PRODUCT_FILE = "/sys/class/dmi/id/product_name"
_HEADERS = {"Metadata-Flavor": "Google"}


def is_gce(around: Surroundings) -> bool:
    """Whether this machine, or the one below this container, is a VM of Compute Engine."""
    return (around.read(_PRODUCT_FILE) or "").strip().startswith("Google")


def metadata(around: Surroundings, path: str) -> str | None:
    """An entry of the metadata server, like "instance/name"; None where it has none."""
    host = around.text("GCE_METADATA_IP", "GCE_METADATA_HOST") or "metadata.google.internal"
    answer = around.fetch(f"http://{host}/computeMetadata/v1/{path}", _HEADERS)
    return answer.strip() if answer else None
