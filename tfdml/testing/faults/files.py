"""Files as a crash, a full disk or a bad sector leave them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tfdml.errors import ConfigError


def truncate(path: str | os.PathLike[str], num_bytes: int) -> None:
    """Keep the first `num_bytes` bytes of a file. Raises ConfigError: it has no more than that."""
    size = Path(path).stat().st_size
    if not 0 <= num_bytes < size:
        raise ConfigError(
            f"`num_bytes` must be from 0 to {size - 1} to cut off something of {path}, got {num_bytes}."
        )
    os.truncate(path, num_bytes)


def flip_bit(path: str | os.PathLike[str], bit: int) -> None:
    """Change one bit of a file; bit 0 is the lowest of the first byte. Raises ConfigError: it has fewer."""
    size = Path(path).stat().st_size
    if not 0 <= bit < 8 * size:
        raise ConfigError(f"`bit` must be from 0 to {8 * size - 1} in {path}, got {bit}.")
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def each_damage(
    path: str | os.PathLike[str], *, num_cuts: int = 10, num_bits: int = 1, seed: int = 0
) -> Iterator[str]:
    """Damage a file in one way after another, say how, and repair it before the next.

    Cut at `num_cuts` places, the first byte and the last among them; `num_bits` times one bit changed; and gone.

    ```python
    for damage in each_damage(directory / "manifest.json"):
        assert restore(directory).position == older, damage
    ```

    The file is kept in memory meanwhile, and is whole again when the loop ends, in whatever way.
    """
    path = Path(path)
    data, chosen = path.read_bytes(), random.Random(seed)
    ends = [0, len(data) - 1][: min(num_cuts, len(data))]
    inner = range(1, len(data) - 1)
    cuts = {*ends, *chosen.sample(inner, min(max(num_cuts - len(ends), 0), len(inner)))}
    bits = chosen.sample(range(8 * len(data)), min(num_bits, 8 * len(data)))
    damages: list[tuple[str, Callable[[], None]]] = [
        *((f"{path.name} cut after {n} of {len(data)} bytes", _cut(path, n)) for n in sorted(cuts)),
        *((f"{path.name} with bit {bit} flipped", _flip(path, bit)) for bit in bits),
        (f"{path.name} gone", path.unlink),
    ]
    for text, damage in damages:
        damage()
        try:
            yield text
        finally:
            path.write_bytes(data)


def _cut(path: Path, num_bytes: int) -> Callable[[], None]:
    return lambda: truncate(path, num_bytes)


def _flip(path: Path, bit: int) -> Callable[[], None]:
    return lambda: flip_bit(path, bit)
