"""The `tfdml` command."""


def main() -> int:
    return 0
