"""scikit-learn's bundled table: 569 tumours, 30 measurements of each, malignant or benign; no download.

Its origin: Breast Cancer Wisconsin (Diagnostic), W. Wolberg, O. Mangasarian, N. Street and W. Street, UCI, 1993.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.errors import DataError

NAME = "breast_cancer"
TARGET = "diagnosis"
LICENCE = "CC BY 4.0"
SOURCE = (
    "Breast Cancer Wisconsin (Diagnostic), UCI Machine Learning Repository, doi:10.24432/C5DW2B; "
    "as scikit-learn has it"
)


class BreastCancer:
    """Cells of the table, and the column diagnosis."""

    files: tuple[InputFile, ...] = ()

    def __init__(self) -> None:
        names, _, _ = _load()
        self.schema = dict.fromkeys((*names, TARGET))

    def fragments(self) -> list[Fragment]:
        _, values, _ = _load()
        return [Fragment(0, NAME, 0, len(values), values.nbytes)]

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        names, values, diagnoses = _load()
        for number, (cells, diagnosis) in enumerate(zip(values.tolist(), diagnoses, strict=True)):
            location = f"{NAME}#{number}"
            row = {**dict(zip(names, cells, strict=True)), TARGET: diagnosis}
            yield Row(location, row, location)


@functools.cache
def _load() -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """(columns, float64 [569, 30], diagnoses)."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise DataError(
            "The table breast_cancer comes with scikit-learn, which is not installed. "
            "Run: pip install 'tfdml[recipes]'."
        ) from None
    bunch = load_breast_cancer()
    classes = bunch.target_names.tolist()
    return tuple(map(str, bunch.feature_names)), bunch.data, [classes[n] for n in bunch.target]
