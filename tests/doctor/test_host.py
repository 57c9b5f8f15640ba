"""Processors, memory, shared memory and GPUs of a host, as containers and batch systems show them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only
from tfdml.cluster.resolver import Surroundings
from tfdml.doctor import cgroup
from tfdml.doctor.checks import gpus, memory, processors, shared_memory

GIB = 2**30
V2 = {"/proc/self/cgroup": "0::/kubepods/pod1\n"}
V1 = {"/proc/self/cgroup": "4:memory:/job/7\n3:cpuset:/\n2:cpu,cpuacct:/job/7\n"}
FOUR_TASKS = subjects.tf_config("a:1", "a:2", "a:3", "a:4")


def around(files):
    return Surroundings({}, files.get, lambda url, headers: None)


# -- control groups


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({**V2, "/sys/fs/cgroup/kubepods/pod1/cpu.max": "max 100000\n"}, None),
        ({**V2, "/sys/fs/cgroup/kubepods/pod1/cpu.max": "250000 100000\n"}, 2.5),
        # Inside a container its own group is the root.
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        # The tightest of all groups above counts.
        (
            {
                **V2,
                "/sys/fs/cgroup/kubepods/pod1/cpu.max": "400000 100000\n",
                "/sys/fs/cgroup/kubepods/cpu.max": "100000 100000\n",
            },
            1,
        ),
        (
            {
                **V1,
                "/sys/fs/cgroup/cpu/job/7/cpu.cfs_quota_us": "300000\n",
                "/sys/fs/cgroup/cpu/job/7/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        ({**V1, "/sys/fs/cgroup/cpu/job/7/cpu.cfs_quota_us": "-1\n"}, None),
    ],
)
def test_cpu_limits(files, limit):
    assert cgroup.cpu_limit(around(files)) == limit


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        (
            {
                **V2,
                "/sys/fs/cgroup/kubepods/pod1/memory.max": f"{4 * GIB}\n",
                "/sys/fs/cgroup/kubepods/pod1/memory.current": f"{GIB}\n",
            },
            3 * GIB,
        ),
        (
            {
                **V1,
                "/sys/fs/cgroup/memory/job/7/memory.limit_in_bytes": "9223372036854771712\n",
                "/sys/fs/cgroup/memory/job/7/memory.usage_in_bytes": "1\n",
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
                "/sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{3 * GIB}\n",
            },
            0,
        ),
    ],
)
def test_memory_left(files, left):
    assert cgroup.memory_left(around(files)) == left


# -- processors


def test_processors(monkeypatch):
    monkeypatch.setattr(processors, "usable_cores", lambda: 64)
    assert by_level(processors.check(subjects.make(files={}))) == {
        "ok": ["64 cores, 64 threads in each of 1 task(s)"]
    }
    quota = {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "400000 100000\n"}
    finding = only(processors.check(subjects.make(files=quota)), "warning")
    assert "may use 4 CPUs" in finding.text and "64 threads" in finding.text
    assert finding.remedy == "Set TF_NUM_INTRAOP_THREADS=4."
    heeded = subjects.make({"TF_NUM_INTRAOP_THREADS": "4"}, files=quota)
    assert only(processors.check(heeded), "ok").figures["threads_per_task"] == 4


def test_tasks_that_share_the_cores(monkeypatch):
    monkeypatch.setattr(processors, "usable_cores", lambda: 8)
    finding = only(processors.check(subjects.make(FOUR_TASKS, files={})), "warning")
    assert finding.text == "4 tasks of this host start 8 threads each on the same 8 cores"
    assert "TF_NUM_INTRAOP_THREADS=2" in finding.remedy


def test_the_cores_that_this_process_is_bound_to():
    code = "from tfdml.doctor.checks.processors import usable_cores; print(usable_cores())"
    core = str(min(os.sched_getaffinity(0)))
    done = subprocess.run(["taskset", "-c", core, sys.executable, "-c", code], capture_output=True)
    assert done.stdout.strip() == b"1"


def test_tensorflow_reads_the_variable():
    package = metadata.distribution("tensorflow").locate_file("tensorflow")
    (library,) = Path(str(package)).glob("libtensorflow_framework.so.2")
    assert processors.THREADS_VARIABLE.encode() in library.read_bytes()


# -- memory


@pytest.mark.parametrize(
    ("free", "level"), [(8.0, "ok"), (3.0, "warning"), (2.0, "error"), (0.1, "error")]
)
def test_memory_for_four_tasks(monkeypatch, free, level):
    monkeypatch.setattr(memory, "available_bytes", lambda: int(free * GIB))
    (finding,) = memory.check(subjects.make(FOUR_TASKS, files={}))
    assert finding.level == level
    assert f"this host has {free:.1f} GiB of memory for 4 task(s)" in finding.text


def test_a_limit_of_the_container_counts(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * GIB)
    files = {
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/memory.max": str(GIB),
        "/sys/fs/cgroup/memory.current": str(GIB // 2),
    }
    finding = only(memory.check(subjects.make(files=files)), "error")
    assert finding.text.startswith("this container's limit leaves 0.5 GiB of memory")


# -- shared memory


@pytest.mark.parametrize(
    ("visible", "mebibytes", "level"),
    [("0,1", 64, "warning"), ("0", 64, "note"), ("", 64, "note"), ("0,1", 4096, "ok")],
)
def test_shared_memory(monkeypatch, visible, mebibytes, level):
    monkeypatch.setattr(
        os, "statvfs", lambda path: SimpleNamespace(f_bavail=mebibytes, f_frsize=2**20)
    )
    (finding,) = shared_memory.check(subjects.make({"CUDA_VISIBLE_DEVICES": visible}))
    assert finding.level == level
    assert f"{mebibytes:,} MiB free in /dev/shm" in finding.text


def test_no_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_memory, "DIRECTORY", tmp_path / "shm")
    finding = only(shared_memory.check(subjects.make({"CUDA_VISIBLE_DEVICES": "-1"})), "note")
    assert "No such file" in finding.text


# -- GPUs

TWO = [{"name": "NVIDIA H200"}, {"name": "NVIDIA H200"}]


def gpu_check(environ, **tensorflow):
    return list(gpus.check(subjects.make(environ, tensorflow=tensorflow)))


def test_no_gpu_and_what_nobody_has_run():
    levels = by_level(gpu_check({"CUDA_VISIBLE_DEVICES": "-1"}))
    assert levels["ok"] == ["no GPU on this host; built for CUDA 12.5.1 and cuDNN 9"]
    assert levels["note"] == ["tfdml is verified on: CPU; written, not run: GPU/NCCL, TPU"]


def test_gpus_that_tensorflow_does_not_see():
    finding = only(gpu_check({"CUDA_VISIBLE_DEVICES": "0,1"}), "error")
    assert finding.text.startswith("this host shows 2 GPU(s), and TensorFlow sees none")
    assert "tfdml[gpu]" in finding.remedy


def test_a_package_for_the_cpu_only():
    finding = only(
        gpu_check({"CUDA_VISIBLE_DEVICES": "0"}, build={"is_cuda_build": False}), "error"
    )
    assert finding.text.endswith("built for the CPU only")


def test_nccl_is_there_or_not(monkeypatch):
    monkeypatch.setattr(gpus.metadata, "version", lambda name: "2.29.1")
    assert "NCCL 2.29.1, from nvidia-nccl-cu12" in by_level(gpu_check({}, gpus=TWO))["ok"]

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    def cannot_load(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(gpus.metadata, "version", absent)
    monkeypatch.setattr(gpus.ctypes, "CDLL", cannot_load)
    assert "libnccl.so.2" in only(gpu_check({}, gpus=TWO), "error").text


def test_more_gpus_than_the_platform_means_for_the_task():
    subject = subjects.make(tensorflow={"gpus": TWO})
    subject.place = SimpleNamespace(gpus=("1",), platform="slurm")
    texts = by_level(gpus.check(subject))["note"]
    assert texts[0].startswith("slurm means GPU 1 for this task, of the 2 that it sees")


def test_tensorflow_that_could_not_be_asked():
    levels = by_level(gpus.check(subjects.make({"CUDA_VISIBLE_DEVICES": "0"}, failure="ended")))
    assert "error" not in levels  # That it cannot be imported is said already.


def test_the_readme_says_the_same():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert "Verified on CPU" in readme and "Written, not run: GPUs and NCCL, TPU." in readme
