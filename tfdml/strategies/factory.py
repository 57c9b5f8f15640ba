"""Create a `tf.distribute.Strategy` from a name and a cluster."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import signal
import threading
from collections.abc import Iterator

import tensorflow as tf

from tfdml.cluster import proxies
from tfdml.cluster.peer_watch import PeerWatch, awaited_by
from tfdml.cluster.ports import wait_until_answers
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError, ConfigError
from tfdml.strategies import gpu_share, lost_peers, peer_probe, same_everywhere
from tfdml.strategies.placement import place_by_bytes
from tfdml.strategies.virtual_devices import local_cpus_per_worker, make_virtual_cpus

_log = logging.getLogger("tfdml")

# A task that asks for the leader before it listens is put off by TensorFlow for a whole second (the fixed
# reconnect back-off of its gRPC channels). Past this time TensorFlow waits alone, and says so.
_LEADER_TIMEOUT_SECONDS = 60.0

_PORT_TAKEN = "Could not start gRPC server"

STRATEGY_NAMES = ("one_device", "mirrored", "multi_worker", "parameter_server", "tpu")

# Two strategies that use collectives in one process take the same collective keys: the second one
# hangs or mixes tensors of the two.
_created: str | None = None


def create(
    name: str, cluster: ClusterSpec | None = None, *, num_virtual_devices: int | None = None
) -> tf.distribute.Strategy:
    """Create the strategy `name`.

    Args:
        name: `one_device` (the first GPU, else the CPU), `mirrored` (all GPUs of this process, or
            `num_virtual_devices` logical CPUs), `multi_worker` (all devices of all workers of
            `cluster`; NCCL between GPUs, ring otherwise), `parameter_server` (the chief coordinates, workers train
            asynchronously, ps hold the variables), or `tpu` (written, not yet run by us).
        cluster: what `tfdml.cluster.resolve()` returned; None or a local cluster is one process.
        num_virtual_devices: logical CPU devices of this process, each a replica; for machines
            without accelerators.

    Raises:
        ConfigError: unknown name, or a second strategy with collectives in this process.
        ClusterError: the cluster does not suit the strategy.
    """
    global _created
    if name not in STRATEGY_NAMES:
        near = difflib.get_close_matches(name, STRATEGY_NAMES, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"`strategy` must be one of {', '.join(STRATEGY_NAMES)}, got '{name}'.{hint}"
        )
    cluster = cluster or ClusterSpec.local()
    if name != "one_device":
        if _created is not None:
            raise ConfigError(
                f"one process can hold one strategy with collectives, got '{name}' after '{_created}' "
                "(their collectives would mix). Create it once and pass it on, or start a new process."
            )
        if "ps" in cluster.jobs and name != "parameter_server":
            raise ClusterError(
                f"strategy '{name}' has no parameter servers, but the cluster has the job 'ps'. "
                "Leave them out, or use strategy 'parameter_server'."
            )
        if name == "tpu" and cluster.num_workers > 1:
            raise ClusterError(
                f"strategy 'tpu' drives the chips of one host, but the cluster has {cluster.num_workers} workers: "
                "ask for a TPU of a single host (v5litepod-8, say); slices of several hosts are not supported."
            )
        if name not in ("multi_worker", "parameter_server") and cluster.num_workers > 1:
            raise ClusterError(
                f"strategy '{name}' trains in one process, but the cluster has {cluster.num_workers} workers "
                f"(every one would train a model of its own). Use strategy 'multi_worker'."
            )
    gpu_share.use_own_gpus(cluster)
    if not tf.config.list_physical_devices("GPU"):
        # TensorFlow reads it when its runtime starts. Its default allocator gives tensors of megabytes back to
        # the system after every step and faults them in again: measured 25 to 40% of the samples/s of a small
        # network (benchmarks/scaling.py). This one keeps what it has; set the variable to "false" to do without.
        os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    strategy = _BUILDERS[name](cluster, num_virtual_devices)
    if name != "one_device":
        _created = name
    return strategy


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this task writes files and prints: task chief, or worker 0 when there is no chief."""
    return bool(strategy.extended.should_checkpoint)


def _one_device(cluster: ClusterSpec, num_virtual_devices: int | None) -> tf.distribute.Strategy:
    if cluster.num_workers > 1:
        raise ClusterError(
            f"strategy 'one_device' trains in one process, but the cluster has {cluster.num_workers} workers "
            "(every one would train a model of its own). Use strategy 'multi_worker'."
        )
    if num_virtual_devices is not None and num_virtual_devices != 1:
        raise ConfigError(
            f"`num_virtual_devices` must be 1 or null with strategy 'one_device', got {num_virtual_devices}. "
            "Use strategy 'mirrored' for several."
        )
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    return tf.distribute.OneDeviceStrategy(device)


def _mirrored(cluster: ClusterSpec, num_virtual_devices: int | None) -> tf.distribute.Strategy:
    if num_virtual_devices is not None:
        return tf.distribute.MirroredStrategy(make_virtual_cpus(num_virtual_devices))
    if not tf.config.list_physical_devices("GPU"):
        _log.warning(
            "strategy 'mirrored' found no GPU: training on 1 replica, the CPU; "
            "`num_virtual_devices=2` makes two replicas of it"
        )
    return tf.distribute.MirroredStrategy()


def _multi_worker(cluster: ClusterSpec, num_virtual_devices: int | None) -> tf.distribute.Strategy:
    if cluster.num_workers > 1:
        from tfdml.precision.policy import check_policy  # imports Keras, which strategies do not

        check_policy()
    gpus = tf.config.get_visible_devices("GPU")
    options = communication_options(len(gpus))
    scope: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if num_virtual_devices is not None:
        make_virtual_cpus(num_virtual_devices)
        scope = local_cpus_per_worker(num_virtual_devices)
    if cluster.is_local:
        _log.warning(
            "strategy 'multi_worker' found no cluster: training on 1 worker; start the same program with "
            "`tfdml launch --workers=N` for N"
        )
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({}), num_accelerators={"GPU": len(gpus)}
        )
    else:
        jobs = {
            job: list(addresses) for job, addresses in cluster.jobs.items() if job != "evaluator"
        }
        proxies.keep_out(cluster, os.environ)
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(jobs),
            task_type=cluster.task_type,
            task_id=cluster.task_index,
            num_accelerators={"GPU": len(gpus)},
            rpc_layer="grpc",
        )
    with scope, _until_all_are_there(cluster):
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy(
                resolver, communication_options=options
            )
        except RuntimeError as error:
            if "program startup" not in str(error):
                raise
            raise ConfigError(
                "strategy 'multi_worker' must be created before anything else of TensorFlow, got a process in "
                "which a tensor or data set exists already. "
                "Move the creation to the top of the program."
            ) from error
        except tf.errors.UnknownError as error:
            if _PORT_TAKEN not in str(error):
                raise
            # With TensorFlow's words, by which whoever started this process knows what to do about it.
            raise ClusterError(
                f"{_PORT_TAKEN}: the port of {cluster.task_name}, {cluster.address}, is taken on this host; end the "
                "program that listens there, or give the job other ports (TFDML_CLUSTER_PORT, --base_port)."
            ) from error
    _take_back_sigterm()
    if cluster.num_workers > 1:
        probe = peer_probe.watch(cluster)
        lost_peers.tell_at_the_end(cluster, probe.abandon if probe else lambda: None)
        same_everywhere.check_hosts(strategy, cluster)
    return strategy


def _parameter_server(
    cluster: ClusterSpec, num_virtual_devices: int | None
) -> tf.distribute.Strategy:
    missing = [job for job in ("chief", "worker", "ps") if job not in cluster.jobs]
    if missing:
        raise ClusterError(
            f"strategy 'parameter_server' needs a chief, workers and ps, but the cluster has no {missing[0]}. "
            "Start it with `tfdml launch --workers=N --ps=M`, or use strategy 'multi_worker'."
        )
    if num_virtual_devices is not None:
        raise ConfigError(
            f"`num_virtual_devices` must be null with strategy 'parameter_server', got {num_virtual_devices}. "
            "Start more workers instead."
        )
    if not cluster.is_chief:
        raise ClusterError(
            f"{cluster.task_name} does not coordinate: only the chief creates strategy 'parameter_server'. "
            "Put `if tfdml.cluster.serve(cluster): raise SystemExit` before it."
        )
    proxies.keep_out(cluster, os.environ)
    jobs = {job: list(cluster.jobs[job]) for job in ("chief", "worker", "ps")}
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(jobs), task_type="chief", task_id=0, rpc_layer="grpc"
    )
    with _until_all_are_there(cluster):
        strategy = tf.distribute.ParameterServerStrategy(resolver)
    place_by_bytes(strategy, len(jobs["ps"]))
    return strategy


def _take_back_sigterm() -> None:
    """Let SIGTERM do what it did before the strategy was made.

    TensorFlow has put a handler of its own in its place, for preemption notices that nobody asks for here: from then
    on even an idle process survives SIGTERM. The Trainer installs its own where there is something to save.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _until_all_are_there(cluster: ClusterSpec) -> Iterator[None]:
    """In this block TensorFlow waits for the other tasks without a word: say which do not answer."""
    if cluster.is_local:
        yield
        return
    # `tfdml launch` says it of all tasks of a host, and for how long it is willing to wait.
    launched = os.environ.get("TFDML_LAUNCHED")
    watch = None if launched else PeerWatch(awaited_by(cluster), say=_log.warning)
    try:
        if not cluster.is_chief:
            wait_until_answers(cluster.leader.address, timeout_seconds=_LEADER_TIMEOUT_SECONDS)
        yield
    finally:
        if watch is not None:
            watch.close()


def communication_options(num_gpus: int) -> tf.distribute.experimental.CommunicationOptions:
    """NCCL between GPUs, ring otherwise. AUTO would mean the gRPC ring even between GPUs."""
    implementation = tf.distribute.experimental.CommunicationImplementation
    return tf.distribute.experimental.CommunicationOptions(
        implementation=implementation.NCCL if num_gpus else implementation.RING
    )


def _tpu(cluster: ClusterSpec, num_virtual_devices: int | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="local")
    except Exception as error:
        raise ClusterError(
            f"strategy 'tpu' found no TPU on this machine ({type(error).__name__}). "
            "Run it on a TPU VM, or use 'one_device', 'mirrored' or 'multi_worker'."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


_BUILDERS = {
    "one_device": _one_device,
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "parameter_server": _parameter_server,
    "tpu": _tpu,
}
