"""No proxy between the tasks: gRPC would take it from the environment, and the job would wait for ever.

gRPC reads grpc_proxy, https_proxy and http_proxy, the first that is set, in lower case only, and exempts the
hosts that no_grpc_proxy, or else no_proxy, lists
(https://grpc.github.io/grpc/core/md_doc_environment_variables.html). It takes the proxy even to 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from tfdml.cluster.resolver import host_of
from tfdml.cluster.spec import ClusterSpec

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXEMPT = "no_grpc_proxy"


def keep_out(cluster: ClusterSpec, environ: MutableMapping[str, str]) -> None:
    """Exempt the hosts of `cluster`, before gRPC makes its first channel; others keep their proxy."""
    if not any(environ.get(name) for name in _PROXIES):
        return
    listed = environ.get(_EXEMPT) or environ.get("no_proxy") or ""
    hosts = dict.fromkeys(host_of(task.address) for task in cluster.tasks())
    environ[_EXEMPT] = ",".join([*([listed] if listed else []), *hosts])
