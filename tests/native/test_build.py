"""The library is made of the sources once, and a failure says what the compiler said."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import signal
from pathlib import Path

import psutil
import pytest
import tensorflow as tf
from rich.console import Console

from tests.native.small_ops import FAILING, OPS, REAL, FakeCompiler, write_sources
from tests.processes import wait_for_file
from tests.testing.test_lifetime import assert_gone
from tfdml.errors import NativeOpsError
from tfdml.native import build, store
from tfdml.native.build import Sources, cached_or_built
from tfdml.testing import WorkerError, run_workers, start_workers


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a `FakeCompiler` into $CXX."""

    def make(*args, name="fake", **kwargs):
        compiler = FakeCompiler(tmp_path / name, *args, **kwargs)
        monkeypatch.setenv("CXX", str(compiler.path))
        return compiler

    return make


def test_kernels_and_ops_become_one_library(sources, cache, caplog):
    library = build.build()
    assert library.parent == cache
    small = ctypes.CDLL(str(library))
    assert small.small_answer(20) == 41
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".sha256", ".so"]
    assert [record.message for record in caplog.records] == [
        "building the native ops (once, about 24 s)"
    ]


def test_only_ops_see_tensorflow_and_no_instruction_set_is_chosen(sources, fake):
    compiler = fake()
    build.build()
    (ops,) = compiler.calls("ops_small.cc")
    (kernel,) = compiler.calls("kernel.cc")
    include = next(flag for flag in tf.sysconfig.get_compile_flags() if flag.startswith("-I"))
    assert include in ops and include not in kernel
    for call in (ops, kernel):
        assert {"-O3", "-std=c++17", "-fPIC", "-ffp-contract=off"} <= set(call.split())
        assert "-march" not in call and "fast-math" not in call
    (link,) = compiler.calls(FakeCompiler.LINK)
    assert all(flag in link for flag in tf.sysconfig.get_link_flags())


def test_output_elsewhere_leaves_the_compiler_out_of_the_name(sources, tmp_path, fake):
    fake(version="one", name="one")
    in_cache, elsewhere = build.build(), build.build(tmp_path / "new" / "place")
    fake(version="two", name="two")
    assert build.build() != in_cache
    assert build.build(tmp_path / "new" / "place") == elsewhere
    assert in_cache.name.startswith(elsewhere.stem)
    assert f"-tf{tf.__version__}-{os.uname().machine}-" in elsewhere.name
    assert store.is_intact(elsewhere)
    assert sorted(path.suffix for path in elsewhere.parent.iterdir()) == [".sha256", ".so"]


@pytest.mark.parametrize("file", ["ops_small.cc", "kernels/kernel.cc", "kernels/small.h"])
def test_every_source_counts_in_the_name(sources, file):
    before = build.library_name(Sources.find())
    assert build.library_name(Sources.find()) == before
    (sources / file).write_text((sources / file).read_text() + "\n")
    assert build.library_name(Sources.find()) != before


def test_the_same_bytes_wherever_the_sources_and_tensorflow_lie(sources, tmp_path, monkeypatch):
    """Two hosts that build for themselves must not look like a mixed cluster."""
    uses_tensorflow = '\n#include "here.h"\nextern "C" const char* there() { return here(); }\n'
    header = "inline const char* here() { return __FILE__; }\n"
    libraries = []
    for name in ("a", "some/where else"):
        directory = write_sources(tmp_path / name / "native")
        (directory / "ops_small.cc").write_text(OPS + uses_tensorflow)
        include = tmp_path / name / "include"
        include.mkdir()
        (include / "here.h").write_text(header)
        monkeypatch.setattr(build, "_tensorflow_flags", lambda include=include: [f"-I{include}"])
        libraries.append(build.build(tmp_path / name, source_dir=directory).read_bytes())
    assert libraries[0] == libraries[1]
    assert b"tfdml/ops_small.cc" in libraries[0] and b"tensorflow/here.h" in libraries[0]


def test_a_failing_compiler_is_quoted(sources, cache, fake):
    compiler = fake(FAILING)
    with pytest.raises(NativeOpsError) as caught:
        build.build(jobs=1)
    first, *lines = str(caught.value).splitlines()
    assert first == (
        f"The C++ compiler {compiler.path} ended with exit status 3 at ops_small.cc; its last lines:"
    )
    assert lines == [f"  note {i}" for i in range(3, 12)] + ["  small.cc:1: error: broken"]
    assert len(compiler.calls()) == 1
    assert not list(cache.glob("*.so")) and not list(cache.glob(".*building*"))


def test_a_failing_linker_and_a_silent_compiler(sources, fake):
    fake('case "$*" in *-shared*) exit 1;; *) echo built > "$output";; esac')
    with pytest.raises(NativeOpsError, match=r"exit status 1 at linking and printed nothing\.$"):
        build.build()
    fake("kill -KILL $$", name="killed")
    with pytest.raises(NativeOpsError, match=r"ended by SIGKILL at ops_small\.cc"):
        build.build(jobs=1)


def test_when_one_file_fails_the_others_are_ended(sources, tmp_path, fake):
    pid = tmp_path / "pid"
    hang = f"sleep 300 & echo $! > '{pid}.partial'; mv '{pid}.partial' '{pid}'; wait"
    fail = f"while [ ! -e '{pid}' ]; do sleep 0.02; done; exit 1"
    fake(f'case "$*" in *ops_small.cc*) {hang};; *) {fail};; esac')
    with pytest.raises(NativeOpsError, match=r"kernel\.cc"):
        build.build(jobs=2)
    assert_gone([int(pid.read_text())])


def test_no_compiler(sources, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeOpsError) as caught:
        build.build()
    assert str(caught.value) == (
        "No C++ compiler was found: none of c++, g++, clang++ is on PATH. "
        "Install one, for example g++, or set CXX to one."
    )


@pytest.mark.parametrize("value", ["no-such-compiler -m64", "'unbalanced"])
def test_a_wrong_cxx_is_not_replaced_silently(sources, monkeypatch, value):
    monkeypatch.setenv("CXX", value)
    with pytest.raises(NativeOpsError, match=r"names no C\+\+ compiler: .* Correct CXX, or unset"):
        build.build()


def test_cxx_may_hold_several_words(sources, fake, monkeypatch):
    compiler = fake(REAL)
    monkeypatch.setenv("CXX", f"env {compiler.path}")
    assert ctypes.CDLL(str(build.build())).small_answer(1) == 3
    assert len(compiler.calls()) == 3


def test_a_compiler_that_is_no_program(sources, tmp_path, monkeypatch):
    (tmp_path / "c++").write_text("\x00\x01")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    with pytest.raises(NativeOpsError, match=r"c\+\+ cannot be run: Exec format error\."):
        build.build()


def test_sources_that_change_meanwhile_are_not_kept_under_their_old_name(sources, cache, fake):
    fake(f"echo >> '{sources}/kernels/small.h'; echo built > \"$output\"")
    with pytest.raises(NativeOpsError, match=r"changed while they were compiled\. Try again"):
        build.build()
    assert not list(cache.glob("*.so"))


def test_missing_sources(sources, tmp_path):
    with pytest.raises(NativeOpsError, match=r"are missing from .*empty\. Install tfdml"):
        build.build(source_dir=tmp_path / "empty")


def test_a_cached_library_is_used_again_and_rebuilt_when_asked(sources, fake):
    compiler = fake()
    library = cached_or_built(Sources.find())
    assert cached_or_built(Sources.find()) == library
    assert len(compiler.calls(FakeCompiler.LINK)) == 1
    assert build.build() == library
    assert len(compiler.calls(FakeCompiler.LINK)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda library: os.truncate(library, 3),
        lambda library: library.write_bytes(b"other\n"),
        lambda library: Path(f"{library}.sha256").unlink(),
        lambda library: Path(f"{library}.sha256").write_bytes(b"\xff"),
    ],
    ids=["truncated", "other bytes", "no digest", "wrong digest"],
)
def test_a_damaged_library_is_built_again(sources, fake, caplog, damage):
    compiler = fake()
    library = cached_or_built(Sources.find())
    damage(library)
    caplog.clear()
    assert cached_or_built(Sources.find()) == library
    assert library.read_text() == "built\n" and store.is_intact(library)
    assert len(compiler.calls(FakeCompiler.LINK)) == 2
    assert caplog.records[0].message == f"native ops: {library} is damaged and is built again"
    assert len(caplog.records) == 2  # And that it is being built.


def test_without_a_compiler_a_library_of_another_host_serves(sources, fake, monkeypatch, tmp_path):
    fake()
    library = build.build()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert cached_or_built(Sources.find()) == library
    library.write_text("damaged")
    with pytest.raises(NativeOpsError, match=r"No C\+\+ compiler"):
        cached_or_built(Sources.find())


def test_a_failure_is_remembered_for_a_while(sources, fake, cache):
    compiler = fake(FAILING)
    for again in (False, True):
        with pytest.raises(NativeOpsError, match="error: broken") as caught:
            cached_or_built(Sources.find(), jobs=1)
        assert ("s ago, and is not tried again for 10 minutes" in str(caught.value)) == again
    assert len(compiler.calls()) == 1
    (record,) = cache.glob("*.failed")
    long_ago = record.stat().st_mtime - store.REMEMBER_FAILURE_SECONDS - 1
    os.utime(record, (long_ago, long_ago))
    with pytest.raises(NativeOpsError):
        cached_or_built(Sources.find(), jobs=1)
    assert len(compiler.calls()) == 2


def test_building_on_demand_tries_again_and_forgets_the_failure(sources, fake, cache, tmp_path):
    broken = tmp_path / "broken"
    broken.touch()
    fake(f"[ -e '{broken}' ] && exit 1; echo built > \"$output\"")
    with pytest.raises(NativeOpsError):
        cached_or_built(Sources.find(), jobs=1)
    broken.unlink()
    library = build.build()
    assert cached_or_built(Sources.find()) == library
    assert not list(cache.glob("*.failed"))


def test_a_bar_on_a_terminal_and_no_line(sources, fake, monkeypatch, caplog):
    fake()
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(build, "Console", lambda **_: terminal)
    build.build()
    assert "building the native ops (once, about 24 s)" in screen.getvalue()
    assert "3/3" in screen.getvalue()
    assert not caplog.records


def ask(source_dir, jobs=1):
    """In a worker; workers do not share what the `sources` fixture changes."""
    logging.basicConfig(format="%(message)s")
    return str(cached_or_built(Sources.find(Path(source_dir)), jobs=jobs))


def test_of_many_processes_one_builds(sources, fake):
    compiler = fake('sleep 0.3; echo built > "$output"')
    libraries = run_workers(ask, num_workers=4, args=(str(sources),))
    assert len(set(libraries)) == 1
    assert len(compiler.calls()) == 3 and len(compiler.calls(FakeCompiler.LINK)) == 1


def ask_and_fail(source_dir):
    with pytest.raises(NativeOpsError) as caught:
        ask(source_dir)
    return str(caught.value)


def test_of_many_processes_one_fails_for_all(sources, fake):
    compiler = fake(f"sleep 0.3\n{FAILING}")
    messages = run_workers(ask_and_fail, num_workers=4, args=(str(sources),))
    assert len(compiler.calls()) == 1
    assert all("error: broken" in message for message in messages)
    assert sum("tries at once" in message for message in messages) == 3


def test_when_the_builder_is_killed_another_builds(sources, cache, fake, tmp_path):
    started, first = tmp_path / "started", tmp_path / "first"
    first.touch()
    hang = f"rm '{first}'; touch '{started}'; exec sleep 300"
    fake(f"if [ -e '{first}' ]; then {hang}; fi; echo built > \"$output\"")
    with start_workers(ask, num_workers=1, args=(str(sources),)) as workers:
        wait_for_file(started)
        (compiler,) = psutil.Process(workers[0].pid).children()
        os.kill(workers[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="killed by SIGKILL"):
            workers.wait()
        assert list(cache.glob(".*building*")) and compiler.is_running()
        # The orphaned compiler does not hold the lock.
        assert Path(ask(sources)).read_text() == "built\n"
    assert_gone([compiler.pid])
    assert not list(cache.glob(".*building*"))


def test_ctrl_c_leaves_no_compiler_and_no_half_library(sources, cache, fake, tmp_path):
    pid = tmp_path / "pid"
    fake(f"sleep 300 & echo $! > '{pid}.partial'; mv '{pid}.partial' '{pid}'; wait")
    with start_workers(ask, num_workers=1, args=(str(sources),)) as workers:
        wait_for_file(pid)
        family = [process.pid for process in psutil.Process(workers[0].pid).children(True)]
        assert int(pid.read_text()) in family
        os.kill(workers[0].pid, signal.SIGINT)  # This process alone, not its group.
        with pytest.raises(WorkerError, match="KeyboardInterrupt"):
            workers.wait()
        assert_gone(family)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
