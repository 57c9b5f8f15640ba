"""VMs of a managed instance group of Google Compute Engine, each of them a worker.

Only where somebody asks for it, by TFDML_GCE_INSTANCE_GROUP=NAME or by TFDML_CLUSTER=gce (the group that
made this VM): the nodes of every GKE cluster are such a group too. The metadata server names this VM and
its group, and the Compute API its members, with the VM's own service account, which needs
compute.instances.list (scope compute-ro). The standard library is enough for both.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tfdml.cluster import roles
from tfdml.cluster.gce_metadata import is_gce, metadata
from tfdml.cluster.resolver import Place, Surroundings, address, shortened
from tfdml.errors import ClusterError

GROUP_VARIABLE = "TFDML_GCE_INSTANCE_GROUP"
_API = "https://compute.googleapis.com/compute/v1"
_FIELDS = "name,status,networkInterfaces/networkIP,metadata/items"
_ENDING = ("STOPPING", "STOPPED", "TERMINATED", "SUSPENDING", "SUSPENDED")
_MAX_PAGES = 100


def find(around: Surroundings) -> Place | str:
    """The place of a VM among the VMs of its group. Raises `ClusterError`."""
    if not around.text(GROUP_VARIABLE) and around.chosen != "gce":
        return f"neither {GROUP_VARIABLE} nor TFDML_CLUSTER=gce asks for it"
    if not is_gce(around):
        raise ClusterError(
            f"{GROUP_VARIABLE} or TFDML_CLUSTER=gce asks for Google Compute Engine, but this machine "
            "is not one of its VMs: unset it, or list the hosts in TFDML_HOSTS."
        )
    own = _required(around, "instance/name")
    created_by = metadata(around, "instance/attributes/created-by") or ""
    location, _, group = created_by.partition("/instanceGroupManagers/")
    wanted = around.text(GROUP_VARIABLE) or group
    if not group or wanted != group:
        raise ClusterError(
            f"VM {own} is not of a managed instance group {wanted!r}, "
            f"but was created by {created_by or 'nobody that its metadata names'!r}: "
            "set TFDML_HOSTS to the hosts instead."
        )
    members = _members(created_by, location, around)
    if own not in members:
        raise ClusterError(
            f"VM {own} is not among the VMs of instance group {group}, "
            f"{shortened(', '.join(members)) or 'which has none'}: is it being replaced?"
        )
    size = around.number("TFDML_CLUSTER_WORKERS", lowest=1) or _target_size(created_by, around)
    if len(members) != size:
        raise ClusterError(
            f"instance group {group} has {len(members)} of its {size} VMs: start the job when all "
            "are there, or set TFDML_CLUSTER_WORKERS to their number."
        )
    port = around.port()
    names = sorted(members)
    addresses = [address(members[name], port) for name in names]
    return Place(roles.assign(addresses, names.index(own), around))


def _required(around: Surroundings, path: str) -> str:
    found = metadata(around, path)
    if not found:
        raise ClusterError(
            f"the metadata server of this VM does not answer {path}: "
            "is it blocked in this container? List the hosts in TFDML_HOSTS instead."
        )
    return found


def _members(created_by: str, location: str, around: Surroundings) -> dict[str, str]:
    """Name and address of every VM that the group made and that is not on its way out."""
    project = _required(around, "project/project-id")
    kind, _, place = location.rpartition("/")
    zonal = kind.endswith("zones")
    scope = f"zones/{place}" if zonal else "aggregated"
    fields = f"items({_FIELDS})" if zonal else f"items/*/instances({_FIELDS})"
    url = f"{_API}/projects/{project}/{scope}/instances?fields={quote(fields)},nextPageToken"
    members: dict[str, str] = {}
    token = ""
    for _ in range(_MAX_PAGES):
        page = _ask(url + (f"&pageToken={quote(token)}" if token else ""), around)
        items = page.get("items", [])
        if isinstance(items, dict):
            items = [each for part in items.values() for each in part.get("instances", [])]
        for item in items:
            entries = item.get("metadata", {}).get("items", [])
            made_by = {entry["key"]: entry.get("value") for entry in entries}.get("created-by")
            if made_by == created_by and item.get("status") not in _ENDING:
                members[item["name"]] = item["networkInterfaces"][0]["networkIP"]
        token = page.get("nextPageToken", "")
        if not token:
            break
    return members


def _target_size(created_by: str, around: Surroundings) -> int:
    return int(_ask(f"{_API}/{created_by}?fields=targetSize", around).get("targetSize", 0))


def _ask(url: str, around: Surroundings) -> dict[str, Any]:
    """A request to the Compute API in the name of this VM's service account."""
    path = "instance/service-accounts/default/token"
    try:
        token = json.loads(_required(around, path))["access_token"]
        text = around.fetch(url, {"Authorization": f"Bearer {token}"})
        answer = json.loads(text) if text else None
    except (ValueError, KeyError, TypeError):
        answer = None
    if not isinstance(answer, dict):
        raise ClusterError(
            "the Compute API does not list the VMs of this group: give the VM's service account the "
            "role compute.viewer and the scope compute-ro, or list the hosts in TFDML_HOSTS."
        )
    return answer
