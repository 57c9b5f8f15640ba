"""The tasks of a parameter-server job that do not run the training script's own code."""

from __future__ import annotations

import os
import signal
import threading

from tfdml.cluster import proxies
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError

_PORT_TAKEN = "Could not start gRPC server"


def serve(cluster: ClusterSpec) -> bool:
    """Serve until the job ends where this task only serves, and say whether it did.

    In a job with `ps` tasks the coordinator (the chief) runs the script; workers and ps tasks start
    a TensorFlow server, on which it places work. In every other job this returns False at once.

    A server knows no end: SIGTERM ends its process, as `tfdml launch` does when the chief has ended.

    Raises:
        ClusterError: somebody else listens at this task's address.
    """
    if "ps" not in cluster.jobs or cluster.task_type not in ("worker", "ps"):
        return False
    import tensorflow as tf  # Seconds to import, and only this branch needs it.

    from tfdml.native import loader

    # Of the graphs that the chief sends, a server runs only ops that it knew when the first one came.
    loader.ops()
    proxies.keep_out(cluster, os.environ)
    try:
        server = tf.distribute.Server(
            {job: list(addresses) for job, addresses in cluster.jobs.items()},
            job_name=cluster.task_type,
            task_index=cluster.task_index,
        )
    except tf.errors.UnknownError as error:
        if _PORT_TAKEN not in str(error):
            raise
        # With TensorFlow's words, by which whoever started this process knows what to do about it.
        raise ClusterError(
            f"{_PORT_TAKEN}: the port of {cluster.task_name}, {cluster.address}, is taken on this host; end the "
            "program that listens there, or give the job other ports (TFDML_CLUSTER_PORT)."
        ) from error
    _let_signals_end_it()
    server.join()
    return True


def _let_signals_end_it() -> None:
    """Python's own handlers would wait for `join`, which never returns. What is ignored stays so, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
