"""Turns TensorFlow's long errors about a task that is gone into one sentence with its name."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

import tensorflow as tf

from tfdml.cluster import lost_peers, resolve
from tfdml.cluster.spec import ClusterSpec

_Method = TypeVar("_Method", bound=Callable[..., Any])


class PeerLost(RuntimeError):
    """Another task of the job is gone, and this one cannot train on without it.

    Neither the user's mistake nor a bug: start all tasks again, and they go on from the last snapshot.
    """


def names_lost_peers(method: _Method) -> _Method:
    """A method of an object with a `strategy`, in which such an error of TensorFlow becomes `PeerLost`."""

    @functools.wraps(method)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return method(self, *arguments, **options)
        except tf.errors.OpError as error:
            cluster = cluster_of(self.strategy)
            told = cluster and lost_peers.sentence(str(error), cluster)
            if not told:
                raise
            raise PeerLost(told) from error

    return wrapped  # type: ignore[return-value]


def cluster_of(strategy: tf.distribute.Strategy) -> ClusterSpec | None:
    """The cluster that `strategy` trains on; None where it is one process."""
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        return resolve()  # the strategy does not tell
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict() if resolver is not None else {}
    if not jobs or not resolver.task_type:
        return None
    return ClusterSpec(
        {job: tuple(addresses) for job, addresses in jobs.items()},
        resolver.task_type,
        resolver.task_id,
    )


def tell_at_the_end(cluster: ClusterSpec, abandon: Callable[[], None]) -> None:
    """Let the process, should it end by such an error, say the sentence last, and end then.

    `abandon` is called first, to give up what still waits for other tasks.
    """
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        told = None
        if isinstance(error, PeerLost):
            told = str(error)
        else:
            # Of a training loop of the user's own: the traceback says where in it.
            before(kind, error, trace)
            if isinstance(error, tf.errors.OpError):
                told = lost_peers.sentence(str(error), cluster)
        if told:
            print(f"error: {told}", file=sys.stderr, flush=True)
            if not hasattr(sys, "ps1") and not sys.flags.interactive:
                abandon()
                _leave()

    sys.excepthook = hook


def _leave() -> None:
    """End the process as Python does, but for taking TensorFlow down.

    It waits for its connections to the tasks that are gone: seen to take 25 s where a link is down.
    """
    with suppress(BaseException):
        # Not public. What is registered to run at exit: log files and the like.
        atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1)
