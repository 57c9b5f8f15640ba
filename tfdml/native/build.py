"""Make one library of the C++ sources, and keep it so that it is made once."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tfdml.errors import NativeOpsError
from tfdml.native import store
from tfdml.native.compiler import Compiler, Step, find_compiler, run_steps

SOURCE_DIR = Path(__file__).parent
# Contraction to fused multiply-add would round once where the reference rounds twice. There is no
# -march: kernels choose their instructions when they run, so that a library serves other hosts too.
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-ffp-contract=off")

# What a file takes on one core, for the estimate. TensorFlow's headers make the difference.
_SECONDS_PER_OPS_FILE = 24
_SECONDS_PER_KERNEL_FILE = 2

_log = logging.getLogger("tfdml")


@dataclass(frozen=True)
class Sources:
    """The C++ files of a directory. `ops` include TensorFlow, `kernels` do not."""

    directory: Path
    ops: tuple[Path, ...]
    kernels: tuple[Path, ...]
    headers: tuple[Path, ...]

    @classmethod
    def find(cls, directory: Path | None = None) -> Sources:
        """Those of this package, or of another directory that is laid out alike."""
        directory = (directory or SOURCE_DIR).resolve()
        ops, kernels, inner, outer = (
            tuple(sorted(directory.glob(pattern)))
            for pattern in ("ops_*.cc", "kernels/*.cc", "kernels/*.h", "*.h")
        )
        sources = cls(directory, ops, kernels, headers=inner + outer)
        if not sources.ops:
            raise NativeOpsError(
                f"The C++ sources of the native ops are missing from {directory}. Install tfdml again."
            )
        return sources

    @property
    def prebuilt_dir(self) -> Path:
        """Where a wheel carries libraries, named by `library_name`."""
        return self.directory / "prebuilt"


def build(
    output_dir: str | os.PathLike[str] | None = None,
    *,
    source_dir: Path | None = None,
    jobs: int | None = None,
) -> Path:
    """Build the library, also where there is one already; return its path.

    Args:
        output_dir: default: the cache directory. Names elsewhere leave the compiler out, as those of
            the libraries that a wheel carries do.
        source_dir: default: this package.
        jobs: compilers at a time (default: one a core).

    Raises:
        NativeOpsError: there is no compiler, it fails, or the library cannot be written.
    """
    compiler = find_compiler()
    sources = Sources.find(source_dir)
    if output_dir is not None:
        library = Path(output_dir).resolve() / f"{library_name(sources)}.so"
        _compile(sources, compiler, library, jobs)
        return library
    library = _cached(sources, compiler)
    with store.lock(library):
        _compile_and_remember(sources, compiler, library, jobs)
    return library


def cached_or_built(sources: Sources, *, jobs: int | None = None) -> Path:
    """The library in the cache directory. Of processes that ask at once, one builds, others wait.

    Raises:
        NativeOpsError: as `build`, and where another process has failed to build it just now.
    """
    try:
        compiler = find_compiler()
    except NativeOpsError:
        # Where the cache is shared, another host may have had a compiler.
        pattern = f"{library_name(sources)}-*.so"
        for library in sorted(store.cache_directory().glob(pattern)):
            if store.is_intact(library):
                return library
        raise
    library = _cached(sources, compiler)
    if store.is_intact(library):
        return library
    with store.lock(library):
        if store.is_intact(library):
            return library
        if library.exists():
            _log.warning("native ops: %s is damaged and is built again", library)
        failure = store.recall_failure(library)
        if failure is not None:
            raise failure
        _compile_and_remember(sources, compiler, library, jobs)
    return library


def library_name(sources: Sources) -> str:
    """Differs for libraries that must not be exchanged: by TensorFlow, its ABI, machine and sources."""
    import tensorflow as tf

    digest = hashlib.sha256()
    for flag in (*FLAGS, *_tensorflow_flags()):
        if not flag.startswith("-I"):
            digest.update(f"{flag}\n".encode())
    for file in (*sources.ops, *sources.kernels, *sources.headers):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(sources.directory)} {len(content)}\n".encode())
        digest.update(content)
    return f"tfdml_ops-tf{tf.__version__}-{platform.machine()}-{digest.hexdigest()[:16]}"


def _cached(sources: Sources, compiler: Compiler) -> Path:
    words = "\n".join([*compiler.command, compiler.version])
    digest = hashlib.sha256(words.encode()).hexdigest()[:8]
    return store.cache_directory() / f"{library_name(sources)}-{digest}.so"


def _compile_and_remember(
    sources: Sources, compiler: Compiler, library: Path, jobs: int | None
) -> None:
    """For the holder of the library's lock."""
    for left in library.parent.glob(f".{library.stem}.building-*"):
        shutil.rmtree(left, ignore_errors=True)  # A killed process could not.
    try:
        _compile(sources, compiler, library, jobs)
    except NativeOpsError as error:
        store.remember_failure(library, error)
        raise


def _compile(sources: Sources, compiler: Compiler, library: Path, jobs: int | None) -> None:
    jobs = jobs or len(os.sched_getaffinity(0))
    name = library_name(sources)
    with _scratch_directory(library) as scratch:
        steps, objects = [], []
        # Those that take longest begin first.
        for number, file in enumerate((*sources.ops, *sources.kernels)):
            objects.append(str(scratch / f"{number}.o"))
            flags = _flags(sources, name, with_tensorflow=file in sources.ops)
            command = [*compiler.command, *flags, "-c", str(file), "-o", objects[-1]]
            steps.append(Step(file.name, command))
        linked = scratch / "linked.so"
        link = [*compiler.command, "-shared", *objects, "-o", str(linked), *_link_flags()]
        with _progress(len(steps) + 1, _seconds(sources, jobs)) as advance:
            run_steps(steps, jobs=jobs, directory=scratch, on_done=advance)
            run_steps([Step("linking", link)], jobs=1, directory=scratch, on_done=advance)
        if library_name(sources) != name:
            raise NativeOpsError(
                f"The C++ sources in {sources.directory} changed while they were compiled. Try again."
            )
        store.publish(linked, library)


@contextmanager
def _scratch_directory(library: Path) -> Iterator[Path]:
    with store.writing_to(library.parent):
        library.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=f".{library.stem}.building-", dir=library.parent)
    try:
        yield Path(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _flags(sources: Sources, name: str, *, with_tensorflow: bool) -> list[str]:
    tensorflow_flags = _tensorflow_flags() if with_tensorflow else []
    directories = [flag[2:] for flag in tensorflow_flags if flag.startswith("-I")]
    # Paths find their way into messages in the library. Without them the same sources, TensorFlow and
    # compiler give the same bytes on every host, and tasks can compare digests.
    mapped = [f"-ffile-prefix-map={directory}=tensorflow" for directory in directories]
    mapped.append(f"-ffile-prefix-map={sources.directory}=tfdml")
    # What `ops_library.cc` answers when another task asks for it.
    named = f'-DTFDML_LIBRARY_NAME="{name}"'
    return [*FLAGS, *tensorflow_flags, named, f"-I{sources.directory}", *mapped]


def _tensorflow_flags() -> list[str]:
    import tensorflow as tf

    return tf.sysconfig.get_compile_flags()


def _link_flags() -> list[str]:
    import tensorflow as tf

    return tf.sysconfig.get_link_flags()


def _seconds(sources: Sources, jobs: int) -> int:
    work = _SECONDS_PER_OPS_FILE * len(sources.ops) + _SECONDS_PER_KERNEL_FILE * len(
        sources.kernels
    )
    return max(_SECONDS_PER_OPS_FILE, round(work / jobs))


@contextmanager
def _progress(total: int, seconds: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, one line elsewhere. Yields what to call after each of `total` steps."""
    console = Console(stderr=True)
    if not console.is_terminal:
        # A warning, because nobody sees information by default, and silence looks like a hang.
        _log.warning("building the native ops (once, about %d s)", seconds)
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(f"building the native ops (once, about {seconds} s)", total=total)
        yield lambda: bar.advance(task)
