"""`tfdml build-ops`: compile the native ops."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence

from tfdml.errors import NativeOpsError

FAILURE_STATUS = 1

_DESCRIPTION = """\
Compile the native ops, the C++ part of gradient compression, and load them once to see that they
work. Training does this by itself on first use; this command does it beforehand, and does it again
where there is a library already."""

_EXAMPLES = """\
examples:
  For this user, on this host, before the first job:
    tfdml build-ops

  With another compiler:
    CXX=clang++ tfdml build-ops

  For a wheel, so that its users need no compiler (then: python -m build):
    tfdml build-ops --output tfdml/native/prebuilt

Without --output the library goes into $XDG_CACHE_HOME/tfdml (~/.cache/tfdml), which only this user
can read; its name changes with TensorFlow's version, the compiler, the processor architecture and
the sources.

Where there is no library and none can be built, training uses the same functions in TensorFlow's
own ops, which are slower. The environment variable TFDML_NATIVE decides otherwise:
  auto     build on first use; where that fails, say so and use the slower ones (default)
  require  an error instead
  off      always the slower ones

Exit status: 0 if it is built and loads, 1 if not."""


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # What TensorFlow says at its start.

    # Imported here, so that --help answers at once.
    from tfdml.native import build, compiler, loader

    try:
        version = compiler.find_compiler().version.partition("\n")[0]
        importlib.import_module("tensorflow")  # Seconds that are no part of building.
        begin = time.monotonic()
        library = build.build(arguments.output)
        seconds = time.monotonic() - begin
        loader.load(library)
    except NativeOpsError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return FAILURE_STATUS
    print(library)
    print(f"{library.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s by {version}; it loads")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml build-ops",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output", metavar="DIR", help="put the library into DIR instead of the cache directory"
    )
    return parser
