"""The GPUs that the host has and those that TensorFlow sees, NCCL, and what nobody has run yet."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from importlib import metadata

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject
from tfdml.launch import gpus

NAME = "GPUs and NCCL"
VERIFIED = "tfdml is verified on: CPU; written, not run: GPU/NCCL, TPU"
_NCCL_PACKAGES = ("nvidia-nccl-cu12", "nvidia-nccl-cu13")


def check(subject: Subject) -> Iterable[Finding]:
    on_host = gpus.visible_gpus(subject.environ)
    build = subject.tensorflow.values.get("build", {})
    seen = subject.tensorflow.values.get("gpus", [])
    if seen:
        names = ", ".join(sorted({gpu["name"] for gpu in seen}))
        yield Finding(
            NAME, "ok", f"TensorFlow sees {len(seen)} GPU(s): {names}; {_built_for(build)}"
        )
        yield from _nccl(len(seen))
    elif on_host and "gpus" in subject.tensorflow.values:
        yield Finding(
            NAME,
            "error",
            f"this host shows {len(on_host)} GPU(s), and TensorFlow sees none; {_built_for(build)}",
            "pip install 'tfdml[gpu]' brings the CUDA libraries; `nvidia-smi` shows whether the driver is "
            "new enough. To train on the CPU all the same, set CUDA_VISIBLE_DEVICES=-1.",
        )
    else:
        yield Finding(NAME, "ok", f"no GPU on this host; {_built_for(build)}")
    meant = subject.place.gpus
    if meant and len(meant) < len(seen):
        yield Finding(
            NAME,
            "note",
            f"{subject.place.platform} means GPU {', '.join(meant)} for this task, of the {len(seen)} that it sees; "
            "tfdml.strategies.create takes no others",
            f"A program without it needs {gpus.VARIABLE}={','.join(meant)}.",
        )
    yield Finding(NAME, "note", VERIFIED)


def _built_for(build: dict) -> str:
    if not build:
        return "TensorFlow could not be asked"
    if build.get("is_cuda_build"):
        return f"built for CUDA {build.get('cuda_version')} and cuDNN {build.get('cudnn_version')}"
    return "built for ROCm" if build.get("is_rocm_build") else "built for the CPU only"


def _nccl(count: int) -> Iterable[Finding]:
    for package in _NCCL_PACKAGES:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        yield Finding(NAME, "ok", f"NCCL {version}, from {package}")
        return
    try:
        ctypes.CDLL("libnccl.so.2")
    except OSError:
        yield Finding(
            NAME,
            "error" if count > 1 else "warning",
            "libnccl.so.2, which moves gradients between GPUs, cannot be loaded",
            "pip install 'tfdml[gpu]' brings it.",
        )
    else:
        yield Finding(NAME, "ok", "NCCL is installed on the system")
