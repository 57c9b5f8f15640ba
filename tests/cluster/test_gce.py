"""VMs of an instance group, asked for by name; the metadata server and the Compute API are pages here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.surroundings import PRODUCT_FILE, around, place, reason, refused, winner
from tfdml.cluster import gce
from tfdml.cluster.resolver import Surroundings

METADATA = "http://metadata.google.internal/computeMetadata/v1/"
API = "https://compute.googleapis.com/compute/v1/"
GROUP = "projects/123/zones/us-central1-a/instanceGroupManagers/digits"
REGIONAL = "projects/123/regions/us-central1/instanceGroupManagers/digits"
FIELDS = "name%2Cstatus%2CnetworkInterfaces/networkIP%2Cmetadata/items"
ZONE_URL = f"{API}projects/p/zones/us-central1-a/instances?fields=items%28{FIELDS}%29,nextPageToken"
REGION_URL = (
    f"{API}projects/p/aggregated/instances?fields=items/%2A/instances%28{FIELDS}%29,nextPageToken"
)
ON_GCE = {PRODUCT_FILE: "Google Compute Engine\n"}
ASKED = {"TFDML_GCE_INSTANCE_GROUP": "digits"}


def vm(name: str, address: str, group: str = GROUP, status: str = "RUNNING") -> dict[str, Any]:
    """An entry of instances.list (docs.cloud.google.com, Compute Engine API), as `fields` leaves it."""
    return {
        "name": name,
        "status": status,
        "networkInterfaces": [{"networkIP": address}],
        "metadata": {
            "items": [
                {"key": "instance-template", "value": "projects/123/global/instanceTemplates/t"},
                {"key": "created-by", "value": group},
            ]
        },
    }


def pages(instances: list[dict[str, Any]], **change: str | None) -> dict[str, str]:
    everything = {
        f"{METADATA}instance/name": "digits-b",
        f"{METADATA}project/project-id": "p",
        f"{METADATA}instance/attributes/created-by": GROUP,
        f"{METADATA}instance/service-accounts/default/token": json.dumps(
            {"access_token": "t", "expires_in": 3599, "token_type": "Bearer"}
        ),
        f"{API}{GROUP}?fields=targetSize": '{"targetSize": 2}',
        f"{API}{REGIONAL}?fields=targetSize": '{"targetSize": 2}',
        ZONE_URL: json.dumps({"items": instances}),
    }
    for ending, text in change.items():
        url = next(url for url in everything if url.endswith(ending.replace("_", "-")))
        everything[url] = text or ""
    return everything


MEMBERS = [
    vm("digits-b", "10.128.0.3"),
    vm("other", "10.128.0.9", group=GROUP + "-2"),
    vm("digits-a", "10.128.0.7"),
    vm("digits-old", "10.128.0.8", status="STOPPING"),
    {"name": "alone", "status": "RUNNING", "networkInterfaces": [{"networkIP": "10.128.0.2"}]},
]


def test_the_vms_of_a_group_by_name() -> None:
    surroundings = around(ASKED, files=ON_GCE, pages=pages(MEMBERS))
    cluster = place(gce.find, surroundings).cluster
    assert cluster.jobs == {"worker": ("10.128.0.7:12345", "10.128.0.3:12345")}
    assert cluster.task_name == "worker 1"
    assert winner(surroundings) == "gce"


def test_the_group_that_made_this_vm() -> None:
    environ = {"TFDML_CLUSTER": "gce", "TFDML_CLUSTER_WORKERS": "2"}
    assert winner(around(environ, files=ON_GCE, pages=pages(MEMBERS))) == "gce"


def test_pages_of_vms_and_groups_of_a_region() -> None:
    first, second = [
        [vm("digits-a", "10.128.0.7", group=REGIONAL)],
        [vm("digits-b", "10.129.0.3", group=REGIONAL)],
    ]
    answers = {
        **pages([], created_by=REGIONAL),
        REGION_URL: json.dumps(
            {"items": {"zones/us-central1-a": {"instances": first}}, "nextPageToken": "n/2"}
        ),
        f"{REGION_URL}&pageToken=n/2": json.dumps(
            {"items": {"zones/us-central1-b": {"instances": second}, "zones/us-central1-c": {}}}
        ),
    }
    cluster = place(gce.find, around(ASKED, files=ON_GCE, pages=answers)).cluster
    assert cluster.jobs == {"worker": ("10.128.0.7:12345", "10.129.0.3:12345")}


def test_the_token_goes_to_the_api_alone() -> None:
    seen = []
    answers = pages(MEMBERS)

    def fetch(url: str, headers: Any) -> str | None:
        seen.append((url, dict(headers)))
        return answers.get(url)

    place(gce.find, Surroundings(ASKED, ON_GCE.get, fetch))
    for url, headers in seen:
        expected = (
            {"Authorization": "Bearer t"} if url.startswith(API) else {"Metadata-Flavor": "Google"}
        )
        assert headers == expected


def test_unless_somebody_asks_for_it_nobody_is_asked() -> None:
    surroundings = around({}, files=ON_GCE)
    assert "neither TFDML_GCE_INSTANCE_GROUP nor TFDML_CLUSTER=gce" in reason(
        gce.find, surroundings
    )
    assert winner(surroundings) == "local"


def test_elsewhere_the_wish_is_an_error() -> None:
    refused(gce.find, around(ASKED), "asks for Google Compute Engine, but this machine is not one")


@pytest.mark.parametrize(
    ("environ", "answers", "message"),
    [
        (
            ASKED,
            pages(MEMBERS, created_by=""),
            "'digits', but was created by 'nobody that its metadata",
        ),
        (
            {"TFDML_GCE_INSTANCE_GROUP": "x"},
            pages(MEMBERS),
            "is not of a managed instance group 'x'",
        ),
        (
            ASKED,
            pages(MEMBERS[1:]),
            "VM digits-b is not among the VMs of instance group digits, digits-a",
        ),
        (ASKED, pages(MEMBERS[:1]), "has 1 of its 2 VMs: start the job when all are there"),
        ({**ASKED, "TFDML_CLUSTER_WORKERS": "3"}, pages(MEMBERS), "has 2 of its 3 VMs"),
        (ASKED, {}, "does not answer instance/name: is it blocked in this container"),
        (ASKED, pages(MEMBERS, token="{}"), "does not list the VMs .* compute.viewer"),
        (ASKED, {**pages([]), ZONE_URL: ""}, "does not list the VMs .* compute.viewer"),
        (ASKED, {**pages([]), ZONE_URL: "<html>"}, "does not list the VMs .* compute.viewer"),
    ],
)
def test_broken_groups(environ: dict[str, str], answers: dict[str, str], message: str) -> None:
    refused(gce.find, around(environ, files=ON_GCE, pages=answers), message)
