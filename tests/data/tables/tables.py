"""Small tables as files, for tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

COLUMNS = ("age", "city", "floor", "fare", "bought")


def rows(count: int = 200, seed: int = 0) -> list[dict[str, str]]:
    """Numbers with gaps, categories with gaps, categories that are numbers, and who bought: one in four or so."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        age, fare = draw.normal(40, 12), draw.exponential(20)
        city = draw.choice(["Bonn", "Köln", "Mainz, old town"], p=[0.5, 0.3, 0.2])
        floor = int(draw.integers(1, 4))
        wants = (age - 40) / 12 + (city == "Köln") + 0.5 * (floor == 3) + draw.normal(0, 0.5)
        found.append(
            {
                "age": "" if draw.random() < 0.1 else f"{age:.2f}",
                "city": "NA" if draw.random() < 0.1 else str(city),
                "floor": str(floor),
                "fare": f"{fare:.3f}",
                "bought": "yes" if wants > 1.2 else "no",
            }
        )
    return found


def write_csv(path: Path, table: list[dict[str, str]], columns=None) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(table[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    return str(path)


def write_parquet(path: Path, table: list[dict[str, str]]) -> str:
    """The same values in their own types, with nulls."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = lambda text: None if text == "" else float(text)
    columns = {
        "age": pa.array([number(row["age"]) for row in table], pa.float64()),
        "city": pa.array([None if row["city"] == "NA" else row["city"] for row in table]),
        "floor": pa.array([int(row["floor"]) for row in table], pa.int32()),
        "fare": pa.array([number(row["fare"]) for row in table], pa.float32()),
        "bought": pa.array([row["bought"] for row in table]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)
    return str(path)
