"""A conversion in a process of its own, to be killed: python -m tests.data.conversion.driver OUTPUT_DIR SETTINGS.

SETTINGS is JSON: {"input": arguments of Rows, "counted": true for CountedRows, "processes": 2}, and arguments of
Conversion. A line `kept FRAGMENTS SHARDS` says what an earlier run had finished. Exits as the command line does.
"""

from __future__ import annotations

import json
import sys

from tests.data.conversion.fakes import CountedRows, Rows
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import Interrupted, convert
from tfdml.errors import exit_on_user_error


def main(output_dir: str, text: str) -> None:
    settings = json.loads(text)
    kind = CountedRows if settings.pop("counted", False) else Rows
    input = kind(**settings.pop("input", {}))
    processes = settings.pop("processes", 2)
    with exit_on_user_error():
        try:
            result = convert(
                Conversion(input, output_dir, "rows", **settings), num_processes=processes
            )
        except Interrupted as error:
            print(error, file=sys.stderr)
            sys.exit(130)
    assert "tensorflow" not in sys.modules
    print("kept", result.kept_fragments, result.kept_shards)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
