"""Sizes in bytes as people write them: 268435456, 256MiB, 1.5GB."""

from __future__ import annotations

import re

from tfdml.errors import ConfigError

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)}
_UNITS |= {f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[A-Za-z]*)")


def parse_size(flag: str, text: str) -> int:
    """Bytes. MB is 1,000,000, MiB is 1,048,576.

    Raises:
        ConfigError: for anything else; `flag` is its name in the message.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match["unit"].upper()) if match else None
    if match is None or unit is None:
        raise ConfigError(f"--{flag} is a size such as 268435456, 256MiB or 1GB, got {text!r}.")
    return round(float(match["number"]) * unit)


def written(num_bytes: float) -> str:
    """`113.4 MB`."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while num_bytes >= 1000 and len(units) > 1:
        num_bytes /= 1000
        units.pop(0)
    return f"{num_bytes:,.0f} bytes" if units[0] == "bytes" else f"{num_bytes:,.1f} {units[0]}"
