"""A library of two C++ files that compiles at once, and a stand-in for the compiler.

The files have the layout of `tfdml/native`; what they define is called through ctypes.
"""

from __future__ import annotations

from pathlib import Path

HEADER = "inline int twice(int x) { return 2 * x; }\n"
KERNEL = '#include "kernels/small.h"\nint kernel(int x) { return twice(x) + 1; }\n'
OPS = """\
int kernel(int x);
extern "C" int small_answer(int x) { return kernel(x); }
extern "C" const char* small_file() { return __FILE__; }
"""
# Loading it fails, as it does after an upgrade of TensorFlow that the library was not built for.
UNDEFINED = """\
int somewhere_else();
extern "C" int small_answer(int x) { return somewhere_else(); }
"""


def write_sources(directory: Path, ops: str = OPS) -> Path:
    (directory / "kernels").mkdir(parents=True)
    (directory / "kernels" / "small.h").write_text(HEADER)
    (directory / "kernels" / "kernel.cc").write_text(KERNEL)
    (directory / "ops_small.cc").write_text(ops)
    return directory


class FakeCompiler:
    """A program for $CXX that writes down how it is called. `body` is what it then does, in shell.

    In `body`, "$output" is what follows -o, and "$*" all words.
    """

    LINK = "-shared"

    def __init__(self, path: Path, body: str = 'echo built > "$output"', version: str = "fake 1.0"):
        self.path = path
        self._log = path.with_suffix(".log")
        path.write_text(
            f"""#!/bin/sh
if [ "$1" = --version ]; then echo "{version}"; exit 0; fi
echo "$*" >> '{self._log}'
for word in "$@"; do
  if [ "$previous" = -o ]; then output=$word; fi
  previous=$word
done
{body}
"""
        )
        path.chmod(0o755)

    def calls(self, word: str = "") -> list[str]:
        """The calls so far, those with `word` in them."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if word in line]


FAILING = """\
for i in 1 2 3 4 5 6 7 8 9 10 11; do echo "note $i"; done
echo "small.cc:1: error: broken" >&2
exit 3
"""
REAL = 'exec c++ "$@"'
