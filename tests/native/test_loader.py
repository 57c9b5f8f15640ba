"""The ops are loaded once, or it is said once why the reference is used; TFDML_NATIVE decides."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import tensorflow as tf

from tests.native.small_ops import FAILING, REAL, UNDEFINED, FakeCompiler
from tfdml.errors import ConfigError, NativeOpsError
from tfdml.native import build, loader, store
from tfdml.testing import run_in_process, run_workers


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said beside that the library is being built."""
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if not message.startswith("building the native ops")]


def without_compiler(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def test_built_on_first_use_and_loaded_once(sources, cache, tmp_path, monkeypatch, caplog):
    compiler = FakeCompiler(tmp_path / "compiler", REAL)
    monkeypatch.setenv("CXX", str(compiler.path))
    ops = loader.ops()
    assert ops is not None and loader.ops() is ops
    (library,) = cache.glob("*.so")
    assert loader.digest() == store.digest_of(library)
    assert len(compiler.calls()) == 3
    assert warnings(caplog) == []


def test_the_next_process_compiles_nothing(sources, monkeypatch, caplog):
    assert loader.ops() is not None
    monkeypatch.setattr(loader, "_state", loader._State())
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled again"))
    assert loader.ops() is not None


def test_off_is_silent_and_compiles_nothing(sources, cache, monkeypatch, caplog):
    monkeypatch.setenv("TFDML_NATIVE", "off")
    assert loader.ops() is None
    assert loader.digest() == "reference"
    assert not caplog.records and not cache.exists()


def test_an_unknown_mode_lists_the_known(sources, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", "on")
    with pytest.raises(ConfigError) as caught:
        loader.ops()
    assert str(caught.value) == "TFDML_NATIVE must be one of auto, require, off, got 'on'."


def test_without_a_compiler_one_line_and_the_reference(sources, monkeypatch, tmp_path, caplog):
    without_compiler(monkeypatch, tmp_path)
    assert loader.ops() is None and loader.ops() is None
    assert loader.digest() == "reference"
    assert warnings(caplog) == [
        "native ops: using the slower reference. No C++ compiler was found: none of c++, g++, "
        "clang++ is on PATH. Install one, for example g++, or set CXX to one. See BUILD.md."
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_without_a_compiler_an_error_if_required(sources, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TFDML_NATIVE", "require")
    without_compiler(monkeypatch, tmp_path)
    for _ in range(2):
        with pytest.raises(NativeOpsError) as caught:
            loader.ops()
        assert str(caught.value) == (
            "TFDML_NATIVE=require forbids the slower reference, and there are no native ops. "
            "No C++ compiler was found: none of c++, g++, clang++ is on PATH. "
            "Install one, for example g++, or set CXX to one. See BUILD.md."
        )
    assert not caplog.records
    monkeypatch.setenv("TFDML_NATIVE", "auto")
    assert loader.ops() is None
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("mode", ["auto", "require"])
def test_a_failing_compiler_is_quoted(sources, tmp_path, monkeypatch, caplog, mode):
    compiler = FakeCompiler(tmp_path / "compiler", FAILING)
    monkeypatch.setenv("CXX", str(compiler.path))
    monkeypatch.setenv("TFDML_NATIVE", mode)
    if mode == "auto":
        assert loader.ops() is None and loader.ops() is None
        (message,) = warnings(caplog)
    else:
        with pytest.raises(NativeOpsError) as caught:
            loader.ops()
        message = str(caught.value)
    assert "exit status 3 at" in message and "\n  small.cc:1: error: broken\nSee BUILD" in message
    assert message.count("note") == 9


def test_a_real_compilers_words(sources, monkeypatch, caplog):
    (sources / "kernels" / "small.h").write_text("int twice(int x) { return two * x; }\n")
    assert loader.ops() is None
    (message,) = warnings(caplog)
    assert "at kernel.cc; its last lines:" in message
    assert f"{sources}/kernels/small.h:1:27: error: " in message


def test_a_cache_that_cannot_be_written(sources, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert loader.ops() is None
    assert warnings(caplog) == [
        "native ops: using the slower reference. The native ops cannot be kept in "
        f"{tmp_path}/file/tfdml: Not a directory. It must be a directory that this user can write; "
        "XDG_CACHE_HOME says where the cache is. See BUILD.md."
    ]
    monkeypatch.setenv("TFDML_NATIVE", "require")
    with pytest.raises(NativeOpsError, match="Not a directory"):
        loader.ops()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_cache_without_write_permission(sources, cache, caplog):
    cache.mkdir(parents=True, mode=0o500)
    assert loader.ops() is None
    assert "Permission denied" in warnings(caplog)[0]


def test_a_damaged_library_never_reaches_the_dynamic_loader(sources, cache, monkeypatch, caplog):
    assert loader.ops() is not None
    (library,) = cache.glob("*.so")
    whole = library.read_bytes()
    library.unlink()  # It is mapped into this process.
    library.write_bytes(whole[: len(whole) // 2])
    loaded = []
    load = tf.load_op_library
    monkeypatch.setattr(
        tf, "load_op_library", lambda path: (loaded.append(Path(path).read_bytes()), load(path))[1]
    )
    monkeypatch.setattr(loader, "_state", loader._State())
    assert loader.ops() is not None
    assert loaded == [whole]
    assert warnings(caplog) == [f"native ops: {library} is damaged and is built again"]


def test_a_library_that_does_not_load_is_no_crash(sources, caplog):
    (sources / "ops_small.cc").write_text(UNDEFINED)
    assert loader.ops() is None
    (message,) = warnings(caplog)
    assert "cannot be loaded: undefined symbol: _Z14somewhere_elsev." in message
    assert message.endswith("`tfdml build-ops` builds it again. See BUILD.md.")


def test_a_library_that_was_installed_needs_no_compiler(sources, cache, tmp_path, monkeypatch):
    library = build.build(sources / "prebuilt")
    without_compiler(monkeypatch, tmp_path)
    monkeypatch.setenv("TFDML_NATIVE", "require")
    assert loader.ops() is not None
    assert loader.digest() == store.digest_of(library)
    assert not cache.exists()


def test_an_installed_library_that_is_of_no_use(sources, cache, tmp_path, caplog):
    library = build.build(sources / "prebuilt")
    library.write_bytes(library.read_bytes() + b"x")
    assert loader.ops() is not None
    assert loader.digest() == store.digest_of(next(cache.glob("*.so")))
    assert warnings(caplog) == [
        f"native ops: {library} is damaged and is not used; install tfdml again"
    ]


def test_an_installed_library_that_does_not_load(sources, cache, tmp_path, caplog):
    (sources / "ops_small.cc").write_text(UNDEFINED)
    broken = build.build(tmp_path / "broken")
    (sources / "ops_small.cc").write_text(UNDEFINED.replace("return somewhere_else()", "return x"))
    library = sources / "prebuilt" / f"{build.library_name(build.Sources.find())}.so"
    library.parent.mkdir()
    store.publish(broken, library)
    assert loader.ops() is not None
    (message,) = warnings(caplog)
    assert message == (
        f"native ops: The native ops in {library} cannot be loaded: undefined symbol: "
        "_Z14somewhere_elsev. It is built here instead."
    )


def load_in_a_worker(source_dir):
    build.SOURCE_DIR = Path(source_dir)
    assert loader.ops() is not None
    return loader.digest()


def test_workers_that_start_at_once_load_the_same_library(sources, tmp_path, monkeypatch):
    compiler = FakeCompiler(tmp_path / "compiler", f"sleep 0.3\n{REAL}")
    monkeypatch.setenv("CXX", str(compiler.path))
    digests = run_workers(load_in_a_worker, num_workers=3, args=(str(sources),))
    assert len(set(digests)) == 1 and digests[0] != loader.REFERENCE
    assert len(compiler.calls(FakeCompiler.LINK)) == 1


def load_the_real_ops():
    build.cached_or_built(build.Sources.find(), jobs=1)
    ops = loader.ops()
    names = [name for name in dir(ops) if name.startswith("tfdml_")]
    return names, loader.digest()


@pytest.mark.slow
def test_the_ops_of_this_package_build_and_load(tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path), "TFDML_NATIVE": "require"}
    names, digest = run_in_process(load_the_real_ops, env=env, timeout_seconds=280)
    assert names and len(digest) == 64
    (library,) = (tmp_path / "tfdml").glob("*.so")
    assert store.digest_of(library) == digest
