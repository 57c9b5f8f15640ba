"""The native ops of gradient compression: a compiler, a place to keep them, a library that loads."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from pathlib import Path

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject
from tfdml.errors import NativeOpsError
from tfdml.native import store
from tfdml.native.compiler import find_compiler
from tfdml.native.loader import MODES

NAME = "native ops"
BUILD = "`tfdml build-ops` builds them beforehand, in a minute or two."
# What kernels/block_kernels.cc asks the processor for, widest first.
VARIANTS = {
    "AVX-512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "AVX2": ("avx2",),
}


def check(subject: Subject) -> Iterable[Finding]:
    mode = subject.environ.get("TFDML_NATIVE") or "auto"
    if mode not in MODES:
        yield Finding(
            NAME,
            "error",
            f"TFDML_NATIVE must be one of {', '.join(MODES)}, got {mode!r}",
            "Unset it: auto is what is wanted in most places.",
        )
        return
    if mode == "off":
        yield Finding(NAME, "note", "TFDML_NATIVE=off: compression uses the slower reference")
        return
    # Without a library an explicit wish cannot be met; otherwise there is the reference.
    missing = "error" if mode == "require" else "warning"
    found = subject.tensorflow.values.get("native")
    if found is None:
        yield Finding(NAME, "note", "not looked at, because TensorFlow could not be asked")
    elif found.get("digest") and not found.get("error"):
        library = Path(found["library"])
        yield Finding(
            NAME,
            "ok",
            f"{library.name} loads (sha256 {found['digest'][:16]}, the same on every host of a job); its "
            f"kernels run as {variant(subject)} here",
        )
        return
    elif found.get("error") and "library" in found:
        yield Finding(NAME, missing, found["error"], "`tfdml build-ops` builds it again.")
    elif found.get("error"):
        yield Finding(NAME, missing, *_sentence_and_remedy(found["error"]))
    elif "library" in found:
        text = f"{found['library']} is damaged, and is built again by the first job that compresses"
        yield Finding(NAME, missing, text, BUILD)
    elif "failed" in found:
        yield Finding(
            NAME, missing, found["failed"], "Put the compiler right, then `tfdml build-ops`."
        )
    yield from _could_be_built(subject, missing, not found)


def _could_be_built(subject: Subject, missing: str, is_absent: bool) -> Iterable[Finding]:
    try:
        compiler = find_compiler()
    except NativeOpsError as error:
        text, remedy = _sentence_and_remedy(str(error))
        yield Finding(
            NAME, missing, f"{text} Without one, compression uses the slower reference.", remedy
        )
        return
    try:
        directory = store.cache_directory()
        with store.writing_to(directory):
            (directory / ".doctor").touch()
            (directory / ".doctor").unlink()
    except NativeOpsError as error:
        yield Finding(NAME, missing, *_sentence_and_remedy(str(error)))
        return
    if is_absent:
        version = compiler.version.partition("\n")[0]
        yield Finding(
            NAME,
            "note",
            f"not built yet: the first job that compresses builds them, with {version}",
            BUILD,
        )


def variant(subject: Subject) -> str:
    """Which of their loops the kernels take on this processor."""
    if platform.machine() != "x86_64":
        return f"portable loops for {platform.machine()}"
    listed = re.search(r"^flags\s*:(.*)$", subject.around.read("/proc/cpuinfo") or "", re.M)
    flags = set(listed[1].split()) if listed else set()
    return next(
        (name for name, needed in VARIANTS.items() if flags >= set(needed)), "portable loops"
    )


def _sentence_and_remedy(error: str) -> tuple[str, str]:
    """The errors of `tfdml.native` hold both: what is wrong, and in the last sentence what to do."""
    sentence, dot, remedy = error.rpartition(". ")
    return (sentence + dot.strip(), remedy) if dot else (error, "See BUILD.md.")
