"""Which hosts are exempt from a proxy."""

from __future__ import annotations

import pytest

from tfdml.cluster import proxies
from tfdml.cluster.spec import ClusterSpec

TWO = ClusterSpec({"worker": ("a:1", "a:2", "[fd00::2]:1")}, "worker", 0)
PROXY = "http://proxy:3128"


@pytest.mark.parametrize("name", ["grpc_proxy", "https_proxy", "http_proxy"])
@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({}, "a,fd00::2"),
        ({"no_proxy": ".example"}, ".example,a,fd00::2"),
        ({"no_grpc_proxy": "b", "no_proxy": "c"}, "b,a,fd00::2"),
    ],
)
def test_the_hosts_of_the_cluster_beside_those_that_are_listed(name, listed, expected):
    environ = {name: PROXY, **listed}
    proxies.keep_out(TWO, environ)
    assert environ == {name: PROXY, **listed, "no_grpc_proxy": expected}


@pytest.mark.parametrize("environ", [{}, {"HTTP_PROXY": PROXY}, {"http_proxy": ""}])
def test_without_a_proxy_nothing_is_set(environ):
    before = dict(environ)
    proxies.keep_out(TWO, environ)
    assert environ == before
