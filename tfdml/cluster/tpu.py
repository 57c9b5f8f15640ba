"""The hosts of a Cloud TPU slice: a TPU VM, or a pod with TPUs in GKE.

GKE sets TPU_WORKER_HOSTNAMES and TPU_WORKER_ID. A TPU VM has the same in its metadata, which is asked only
where a TPU's chips are seen or TFDML_CLUSTER=tpu says so. One host is a local cluster: strategy `tpu`
finds its chips by itself. A slice of several hosts is a cluster of workers, which TensorFlow drives from
worker 0 over its TPU service on port 8470. Written from the documentation, not run on a TPU.
"""

from __future__ import annotations

from tfdml.cluster.gce_metadata import is_gce, metadata
from tfdml.cluster.resolver import Place, Surroundings, address, shortened
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError

DEFAULT_PORT = 8470
_GOOGLE = "0x1ae0"  # The PCI vendor of TPU chips.
_CHIP_FILES = (
    "/sys/class/accel/accel0/device/vendor",
    "/sys/class/vfio-dev/vfio0/device/vendor",
)


def find(around: Surroundings) -> Place | str:
    """The place of a host of a TPU slice. Raises `ClusterError`."""
    if (around.number("MEGASCALE_NUM_SLICES") or 1) > 1:
        raise ClusterError(
            f"MEGASCALE_NUM_SLICES={around.text('MEGASCALE_NUM_SLICES')}, but TensorFlow trains on one "
            "TPU slice: ask for a single larger one."
        )
    hosts = [host.strip() for host in around.text("TPU_WORKER_HOSTNAMES").split(",")]
    hosts = [host for host in hosts if host]
    own = around.number("TPU_WORKER_ID")
    if not hosts:
        found = _from_metadata(around)
        if isinstance(found, str):
            return found
        hosts, own = found
    if len(hosts) == 1:
        return Place()
    if own is None or own >= len(hosts):
        raise ClusterError(
            f"this TPU slice has {len(hosts)} hosts, {shortened(', '.join(hosts))}, so TPU_WORKER_ID "
            f"must be from 0 to {len(hosts) - 1}, got {'none' if own is None else own}."
        )
    port = around.port(DEFAULT_PORT)
    return Place(
        ClusterSpec({"worker": tuple(address(host, port) for host in hosts)}, "worker", own)
    )


def _from_metadata(around: Surroundings) -> tuple[list[str], int | None] | str:
    """The slice's hosts and this one's number as the metadata server has them, or why not."""
    asked = around.chosen == "tpu"
    if not asked and not any((around.read(path) or "").strip() == _GOOGLE for path in _CHIP_FILES):
        return "TPU_WORKER_HOSTNAMES is not set, and this machine shows no chips of a TPU"
    if around.text("TPU_SKIP_MDS_QUERY") or not is_gce(around):
        if asked:
            return "TPU_WORKER_HOSTNAMES is not set, and no metadata server of a TPU VM is there"
        return "TPU_WORKER_HOSTNAMES is not set, and nothing else says which hosts the slice has"
    endpoints = metadata(around, "instance/attributes/worker-network-endpoints")
    if not endpoints:
        return "the metadata of this VM has no worker-network-endpoints, so it is not a TPU VM"
    # "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3": the third part is the address.
    hosts = [endpoint.split(":")[2:3] for endpoint in endpoints.split(",")]
    number = metadata(around, "instance/attributes/agent-worker-number") or ""
    if not all(host and host[0] for host in hosts):
        raise ClusterError(
            "worker-network-endpoints in this VM's metadata must be like unknown:unknown:10.0.0.2, "
            f"got {shortened(endpoints)!r}: set TPU_WORKER_HOSTNAMES and TPU_WORKER_ID."
        )
    return [host[0] for host in hosts], int(number) if number.isdigit() else None
