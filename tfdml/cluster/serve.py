"""The tasks of a parameter-server job that do not run the training script's own code."""

from __future__ import annotations

import os

from tfdml.cluster import proxies
from tfdml.cluster.spec import ClusterSpec


def serve(cluster: ClusterSpec) -> bool:
    """Serve until the job ends where this task only serves, and say whether it did.

    In a job with `ps` tasks the coordinator (the chief) runs the script; workers and ps tasks start
    a TensorFlow server, on which it places work. In every other job this returns False at once.
    """
    if "ps" not in cluster.jobs or cluster.task_type not in ("worker", "ps"):
        return False
    import tensorflow as tf  # Seconds to import, and only this branch needs it.

    from tfdml.native import loader

    # Of the graphs that the chief sends, a server runs only ops that it knew when the first one came.
    loader.ops()
    proxies.keep_out(cluster, os.environ)
    server = tf.distribute.Server(
        {job: list(addresses) for job, addresses in cluster.jobs.items()},
        job_name=cluster.task_type,
        task_index=cluster.task_index,
    )
    server.join()
    return True
