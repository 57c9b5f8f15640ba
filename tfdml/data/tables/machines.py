"""Machines that wear out, made up: an hourly log of their sensors, their failures, and what nobody could measure.

Wear grows with load, faster the more there is of it, and a machine fails when it passes a limit that differs from
life to life; then it is repaired. Vibration and temperature show wear late and through noise, the product that a
machine makes changes what is normal, every machine has its own offsets, and some readings are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row

NAME = "machines"
MACHINE, TIME, TARGET = "machine", "hour", "failure"
COLUMNS = (MACHINE, TIME, "product", "load", "vibration", "temperature", "pressure", TARGET)
HORIZON = 24.0

_PRODUCTS = ("A", "B", "C")
_VIBRATION = {"A": 0.0, "B": 0.8, "C": 1.6}
_LIFE_HOURS = 220  # about
_MISSING = 0.03  # of the readings


@dataclass(frozen=True)
class Machines:
    """A raw table of `num_machines` times `hours` rows.

    Args:
        seed: another seed, other machines.
    """

    num_machines: int = 60
    hours: int = 600
    seed: int = 0

    @property
    def files(self) -> tuple[InputFile, ...]:
        return ()

    @property
    def schema(self) -> dict[str, None]:
        return dict.fromkeys(COLUMNS)

    def fragments(self) -> list[Fragment]:
        return [
            Fragment(
                0, NAME, 0, self.num_machines * self.hours, self.num_machines * self.hours * 40
            )
        ]

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        for number in range(self.num_machines):
            columns, _ = self.machine(number)
            cells = zip(*(columns[name] for name in COLUMNS), strict=True)
            for hour, row in enumerate(cells):
                location = f"{NAME}#{number}-{hour}"
                yield Row(location, dict(zip(COLUMNS, row, strict=True)), location)

    def machine(self, number: int) -> tuple[dict[str, list], np.ndarray]:
        """(columns, wear): the hidden wear over the limit of the life, float64 [hours], 1 where it fails."""
        draw = np.random.default_rng([self.seed, number])
        hours = np.arange(self.hours)
        product = np.repeat(draw.integers(0, 3, self.hours // 24 + 1), 24)[: self.hours]
        load = np.clip(
            0.6 + 0.25 * np.sin(hours / 24 * 2 * np.pi) + draw.normal(0, 0.1, self.hours), 0, 1
        )
        wear, failed = self._wear(draw, load)
        names = [_PRODUCTS[each] for each in product]
        offset = draw.normal(0, 0.3, 3)
        noise = draw.normal(size=[3, self.hours])
        normal = np.array([_VIBRATION[name] for name in names])
        readings = {
            "load": load,
            "vibration": 2 + normal + offset[0] + 2.5 * wear**4 + 0.5 * noise[0],
            "temperature": 60 + 12 * load + 5 * offset[1] + 9 * wear**3 + 2.5 * noise[1],
            "pressure": 5 + offset[2] - 0.5 * wear**2 * load + 0.3 * noise[2],
        }
        gone = draw.random([len(readings), self.hours]) < _MISSING
        columns: dict[str, list] = {
            MACHINE: [f"machine-{number:03d}"] * self.hours,
            TIME: hours.tolist(),
            "product": names,
            TARGET: failed.astype(int).tolist(),
        }
        for missing, (name, values) in zip(gone, readings.items(), strict=True):
            columns[name] = [
                None if m else v for m, v in zip(missing.tolist(), values.tolist(), strict=True)
            ]
        return columns, wear

    def wear_at(self, names: np.ndarray, hours: np.ndarray) -> np.ndarray:
        """float64 [n]: the hidden wear of machines, bytes [n], at hours, float64 [n]."""
        numbers = [int(name.decode().rpartition("-")[2]) for name in names]
        wear = {number: self.machine(number)[1] for number in set(numbers)}
        return np.array([wear[n][int(hour)] for n, hour in zip(numbers, hours, strict=True)])

    def _wear(self, draw: np.random.Generator, load: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(wear over the limit, failed), [hours] each."""
        wear, failed = np.zeros(self.hours), np.zeros(self.hours, bool)
        speeds = draw.lognormal(0, 0.35, self.hours)  # of each life; more than there are
        limits = draw.normal(1, 0.08, self.hours)
        steps = draw.gamma(2.0, 0.5, self.hours)
        life, now = 0, draw.uniform(0, 0.8)  # machines are not new when the log begins
        for hour in range(self.hours):
            now += speeds[life] * steps[hour] * (0.5 + load[hour]) * (0.5 + now) / _LIFE_HOURS
            wear[hour] = now / limits[life]
            if wear[hour] >= 1:
                wear[hour], failed[hour], life, now = 1, True, life + 1, 0.0
        return wear, failed
