"""Hosts of a TPU slice, from GKE's variables or from the metadata of a TPU VM, which is not asked in vain."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import PRODUCT_FILE, around, place, reason, refused, winner
from tfdml.cluster import order, tpu

# docs.cloud.google.com, Dataflow, "Run a pipeline with TPUs": a host of its own.
ONE_HOST = """
    TPU_SKIP_MDS_QUERY=1
    TPU_HOST_BOUNDS=1,1,1
    TPU_CHIPS_PER_HOST_BOUNDS=1,1,1
    TPU_WORKER_HOSTNAMES=localhost
    TPU_WORKER_ID=0
    TPU_ACCELERATOR_TYPE=v5litepod-1
"""
# What GKE's webhook sets in a pod of an Indexed Job with TPUs (docs.cloud.google.com, GKE, "Deploy TPU
# workloads").
GKE = """
    KUBERNETES_SERVICE_HOST=10.96.0.1
    JOB_COMPLETION_INDEX=1
    TPU_WORKER_ID=1
    TPU_WORKER_HOSTNAMES=job-0.subdomain.ns.svc,job-1.subdomain.ns.svc
"""
ATTRIBUTES = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
# The form that jax/_src/clusters/cloud_tpu_cluster.py takes apart.
TPU_VM_PAGES = {
    f"{ATTRIBUTES}worker-network-endpoints": "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3",
    f"{ATTRIBUTES}agent-worker-number": "1\n",
}
CHIP = "/sys/class/accel/accel0/device/vendor"
TPU_VM_FILES = {PRODUCT_FILE: "Google Compute Engine\n", CHIP: "0x1ae0\n"}


def test_one_host_is_local() -> None:
    assert place(tpu.find, around(ONE_HOST)).cluster.is_local
    assert winner(around(ONE_HOST)) == "tpu"


def test_the_hosts_that_gke_names() -> None:
    surroundings = around(GKE)
    cluster = place(tpu.find, surroundings).cluster
    assert cluster.jobs == {
        "worker": ("job-0.subdomain.ns.svc:8470", "job-1.subdomain.ns.svc:8470")
    }
    assert cluster.task_name == "worker 1"
    assert winner(surroundings) == "tpu"


@pytest.mark.parametrize("vendor_file", [CHIP, "/sys/class/vfio-dev/vfio0/device/vendor"])
def test_the_metadata_of_a_tpu_vm(vendor_file: str) -> None:
    files = {PRODUCT_FILE: "Google Compute Engine\n", vendor_file: "0x1ae0\n"}
    surroundings = around({}, files=files, pages=TPU_VM_PAGES)
    cluster = place(tpu.find, surroundings).cluster
    assert cluster.jobs == {"worker": ("10.0.0.2:8470", "10.0.0.3:8470")}
    assert cluster.task_name == "worker 1"
    assert winner(surroundings) == "tpu"


def test_the_metadata_server_may_be_elsewhere() -> None:
    pages = {
        url.replace("metadata.google.internal", "127.0.0.1:8080"): text
        for url, text in TPU_VM_PAGES.items()
    }
    surroundings = around({"GCE_METADATA_IP": "127.0.0.1:8080"}, files=TPU_VM_FILES, pages=pages)
    assert place(tpu.find, surroundings).cluster.num_workers == 2


def test_without_a_tpu_nobody_is_asked() -> None:
    assert "shows no chips of a TPU" in reason(tpu.find, around({}))
    vm = around({}, files={PRODUCT_FILE: "Google Compute Engine\n"})
    assert "shows no chips of a TPU" in reason(tpu.find, vm)
    other_chip = around({}, files={**TPU_VM_FILES, CHIP: "0x10de\n"})
    assert "shows no chips of a TPU" in reason(tpu.find, other_chip)
    skip = around({"TPU_SKIP_MDS_QUERY": "1"}, files=TPU_VM_FILES)
    assert "nothing else says which hosts" in reason(tpu.find, skip)


def test_asked_for_where_there_is_none() -> None:
    *_, last = order.walk(around({"TFDML_CLUSTER": "tpu"}))
    assert last.reason == (
        "TFDML_CLUSTER=tpu does not apply here, because TPU_WORKER_HOSTNAMES is not set, and no "
        "metadata server of a TPU VM is there."
    )


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (GKE + "TPU_WORKER_ID=2", "has 2 hosts, .* TPU_WORKER_ID must be from 0 to 1, got 2"),
        ("TPU_WORKER_HOSTNAMES=a,b", "TPU_WORKER_ID must be from 0 to 1, got none"),
        (GKE + "TPU_WORKER_ID=one", "TPU_WORKER_ID must be a whole number"),
        (
            GKE + "MEGASCALE_NUM_SLICES=2",
            "MEGASCALE_NUM_SLICES=2, but TensorFlow trains on one TPU",
        ),
    ],
)
def test_broken_slices(environ: str, message: str) -> None:
    refused(tpu.find, around(environ), message)


def test_metadata_that_cannot_be_read() -> None:
    endpoints = f"{ATTRIBUTES}worker-network-endpoints"
    no_tpu = around({}, files=TPU_VM_FILES, pages={})
    assert "no worker-network-endpoints" in reason(tpu.find, no_tpu)
    odd = around({}, files=TPU_VM_FILES, pages={endpoints: "10.0.0.2,10.0.0.3"})
    refused(tpu.find, odd, "must be like unknown:unknown:10.0.0.2, got '10.0.0.2,10.0.0.3'")
    no_number = around({}, files=TPU_VM_FILES, pages={endpoints: TPU_VM_PAGES[endpoints]})
    refused(tpu.find, no_number, "TPU_WORKER_ID must be from 0 to 1, got none")
