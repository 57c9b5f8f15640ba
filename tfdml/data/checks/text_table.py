"""Tables and sizes as plain text, which reads the same in a terminal, a file and a bug report."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of columns: numbers to the right, words to the left; a column without a word is left out."""
    cells = [[cell(value) for value in row] for row in rows]
    used = [i for i in range(len(header)) if any(row[i] for row in cells)]
    widths = [max(len(header[i]), *(len(row[i]) for row in cells)) for i in used]
    right = [all(_is_number(row[i]) for row in cells if row[i]) for i in used]
    lines = []
    for row in [list(header), *cells]:
        parts = [
            row[i].rjust(width) if number else row[i].ljust(width)
            for i, width, number in zip(used, widths, right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return lines


def cell(value: object) -> str:
    """Integers with separators, other numbers with six digits; None is empty."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        whole = value == value and abs(value) < 1e15 and value == int(value)
        return f"{int(value):,}" if whole else f"{value:.6g}"
    return str(value)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(",", "")[:1].isdigit() or text in ("nan", "inf", "-inf")


def size_text(num_bytes: float) -> str:
    """`1.5 MB`, in powers of a thousand."""
    if num_bytes < 1000:
        return f"{num_bytes:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        num_bytes /= 1000
        if num_bytes < 999.5 or unit == "TB":
            break
    return f"{num_bytes:.3g} {unit}"


def range_text(numbers: Sequence[int]) -> str:
    """`480` when all are equal, else `480-481`."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"
