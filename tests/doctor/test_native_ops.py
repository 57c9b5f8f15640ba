"""Native ops that are built, not built, cannot be built, are damaged or forbidden; on real files."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import pytest

import tfdml.native
from tests.doctor import subjects
from tests.doctor.subjects import by_level, only
from tests.native.small_ops import FakeCompiler
from tfdml.doctor.checks import native_ops
from tfdml.doctor.subject import Subject

LOADED = {"library": "/cache/tfdml_ops-x.so", "intact": True, "digest": "ab" * 32}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(FakeCompiler(tmp_path / "compiler").path))
    return tmp_path / "cache"


def check(native=None, mode="", **options):
    environ = {"TFDML_NATIVE": mode} if mode else {}
    tensorflow = {"native": native or {}}
    return list(native_ops.check(subjects.make(environ, tensorflow=tensorflow, **options)))


def cpu(*flags: str) -> dict[str, str]:
    return {"/proc/cpuinfo": f"processor\t: 0\nflags\t\t: fpu sse {' '.join(flags)}\nbugs\t:\n"}


@pytest.mark.parametrize(
    ("files", "variant"),
    [
        (cpu("avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"), "AVX-512"),
        (cpu("avx2", "avx512f"), "AVX2"),
        (cpu(), "portable loops"),
        ({}, "portable loops"),
    ],
)
def test_a_library_that_loads_and_what_runs(monkeypatch, files, variant):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (finding,) = check(LOADED, files=files)
    assert finding.level == "ok"
    assert finding.text.startswith("tfdml_ops-x.so loads (sha256 abababababababab")
    assert finding.text.endswith(f"its kernels run as {variant} here")


def test_the_variants_are_those_that_the_kernels_ask_for():
    source = (Path(tfdml.native.__file__).parent / "kernels" / "block_kernels.cc").read_text()
    asked = set(re.findall(r'__builtin_cpu_supports\("(\w+)"\)', source))
    assert asked == {flag for flags in native_ops.VARIANTS.values() for flag in flags}


def test_not_built_yet():
    (finding,) = check()
    assert finding.level == "note" and "with fake 1.0" in finding.text
    assert finding.remedy == native_ops.BUILD


@pytest.mark.parametrize(("mode", "level"), [("auto", "warning"), ("require", "error")])
def test_no_compiler(monkeypatch, tmp_path, mode, level):
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (finding,) = check(mode=mode)
    assert finding.level == level
    assert finding.text.startswith(
        "No C++ compiler was found: none of c++, g++, clang++ is on PATH."
    )
    assert finding.remedy == "Install one, for example g++, or set CXX to one."


@pytest.mark.parametrize(("mode", "level"), [("auto", "warning"), ("require", "error")])
def test_a_cache_that_cannot_be_written(own_cache, mode, level):
    own_cache.touch()  # A file where the directory should be: root could write anywhere else.
    (finding,) = check(mode=mode)
    assert finding.level == level
    assert f"cannot be kept in {own_cache}/tfdml: Not a directory" in finding.text
    assert "XDG_CACHE_HOME" in finding.remedy


@pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root, to make a directory that is another user's"
)
def test_a_cache_of_another_user(own_cache):
    (own_cache / "tfdml").mkdir(parents=True)
    os.chown(own_cache / "tfdml", 12345, 12345)
    finding = only(check(), "warning")
    assert "belongs to user 12345" in finding.text


def test_a_library_that_does_not_load():
    broken = {**LOADED, "error": "The native ops in /x.so cannot be loaded: undefined symbol: y."}
    findings = check(broken)
    assert by_level(findings) == {"warning": [broken["error"]]}
    assert "builds it again" in findings[0].remedy


def test_a_damaged_library():
    (finding,) = check({"library": "/cache/x.so", "intact": False})
    assert finding.level == "warning" and "/cache/x.so is damaged" in finding.text


def test_a_build_that_failed_a_moment_ago():
    finding = only(check({"failed": "The C++ compiler g++ ended with exit status 1"}), "warning")
    assert "exit status 1" in finding.text


def test_off_is_respected_and_a_wrong_word_is_not():
    assert by_level(check(mode="off")) == {
        "note": ["TFDML_NATIVE=off: compression uses the slower reference"]
    }
    finding = only(check(mode="on"), "error")
    assert finding.text == "TFDML_NATIVE must be one of auto, require, off, got 'on'"


@pytest.mark.slow
def test_tensorflow_says_what_is_there(own_cache, tmp_path):
    """A real TensorFlow: nothing built in a new cache, then something that is no library."""
    environ = {**os.environ, "XDG_CACHE_HOME": str(own_cache)}
    with closing(Subject(environ=environ)) as subject:
        assert subject.tensorflow.failure == ""
        assert subject.tensorflow.values["native"] == {}
    name = library_name()
    (own_cache / "tfdml" / f"{name}-12345678.so").write_text("no library")
    with closing(Subject(environ=environ)) as subject:
        assert subject.tensorflow.values["native"]["intact"] is False


def library_name() -> str:
    from tfdml.native import build

    return build.library_name(build.Sources.find())
