"""Try the platforms in order, and say of each what it found, or why it does not apply.

The order, from what somebody asked for to what merely happens to be there:

 1. `kubeflow`, `tf_config`: an explicit TF_CONFIG always wins. A TFJob's TF_CONFIG has words of its own.
 2. TFDML_CLUSTER=NAME: that platform and no other; `local` trains on this process alone.
 3. `mpi`: mpirun started this very process, on whatever platform.
 4. `hosts`: TFDML_HOSTS or TFDML_HOSTFILE.
 5. `sagemaker`, `vertex`, `azureml`: managed jobs.
 6. `slurm`: srun started this process.
 7. `tpu`: before Kubernetes and GCE, on which TPU hosts run.
 8. `kubernetes`, 9. `gce`: both only where a variable asks for it.
10. `local`: a single process.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tfdml.cluster import (
    azureml,
    gce,
    hosts,
    kubeflow,
    kubernetes,
    mpi,
    sagemaker,
    slurm,
    tf_config,
    tpu,
    vertex,
)
from tfdml.cluster.resolver import Place, Surroundings
from tfdml.errors import ClusterError, ConfigError


def _local(around: Surroundings) -> Place | str:
    return Place()


PLATFORMS: dict[str, Callable[[Surroundings], Place | str]] = {
    "kubeflow": kubeflow.find,
    "tf_config": tf_config.find,
    "mpi": mpi.find,
    "hosts": hosts.find,
    "sagemaker": sagemaker.find,
    "vertex": vertex.find,
    "azureml": azureml.find,
    "slurm": slurm.find,
    "tpu": tpu.find,
    "kubernetes": kubernetes.find,
    "gce": gce.find,
    "local": _local,
}
_EXPLICIT = ("kubeflow", "tf_config")


@dataclass(frozen=True)
class Tried:
    """What came of one platform: its place, or an error, or the reason why it does not apply."""

    name: str
    applies: bool
    reason: str  # With `applies`: a summary of the place, or the error's sentence.
    place: Place | None = None
    error: ClusterError | None = None


def walk(around: Surroundings, platform: str | None = None) -> Iterator[Tried]:
    """Try the platforms in order, up to and with the first that applies.

    `platform` names the only one to try, and an environment without it is an error.
    """
    if platform is not None:
        yield _only(around, platform, f"platform {platform!r}")
        return
    for name in PLATFORMS:
        chosen = around.chosen
        if chosen and name not in _EXPLICIT:
            yield _only(around, chosen, f"TFDML_CLUSTER={chosen}")
            return
        tried = _try(around, name)
        yield tried
        if tried.applies:
            return


def explain(around: Surroundings) -> list[Tried]:
    """One entry for each platform, in the order in which they are tried."""
    tried = {each.name: each for each in walk(around)}
    winner = next(name for name, each in tried.items() if each.applies)
    by_choice = around.chosen and winner not in _EXPLICIT
    skipped = (
        f"not tried, because {f'TFDML_CLUSTER={winner}' if by_choice else f'{winner} applies'}"
    )
    return [tried.get(name, Tried(name, False, skipped)) for name in PLATFORMS]


def _try(around: Surroundings, name: str) -> Tried:
    try:
        found = PLATFORMS[name](around)
    except ClusterError as error:
        return Tried(name, True, str(error), error=error)
    if isinstance(found, str):
        return Tried(name, False, found)
    return Tried(name, True, found.summary(), place=replace(found, platform=name))


def _only(around: Surroundings, name: str, asked: str) -> Tried:
    if name not in PLATFORMS:
        near = difflib.get_close_matches(name, PLATFORMS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{asked}: unknown; the platforms are {', '.join(PLATFORMS)}.{hint}")
    tried = _try(around, name)
    if tried.applies:
        return tried
    error = ClusterError(f"{asked} does not apply here, because {tried.reason}.")
    return Tried(name, True, str(error), error=error)
