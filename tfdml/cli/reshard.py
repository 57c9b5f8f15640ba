"""`tfdml reshard`: the data tool of that name."""

from __future__ import annotations

from collections.abc import Sequence

from tfdml.cli.data_tool import run_bundled


def main(argv: Sequence[str]) -> int:
    return run_bundled("reshard", argv)
