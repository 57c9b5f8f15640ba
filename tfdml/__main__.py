"""`python -m tfdml`: the `tfdml` command for an environment whose scripts are not on PATH."""

import sys

from tfdml.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
