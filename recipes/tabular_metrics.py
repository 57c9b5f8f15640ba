"""How good predictions of classes are, in NumPy, from all of them at once: exact, whatever the number of workers."""

from __future__ import annotations

import numpy as np


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the steps of the precision-recall curve: sum over thresholds of (R_n - R_{n-1}) P_n.

    As scikit-learn's `average_precision_score` has it: every score is a threshold, and those that are the same are
    one. (`keras.metrics.AUC(curve="PR")` interpolates between 200 thresholds.)

    Args:
        labels: 0 or 1, [n].
        scores: the larger, the sooner 1; [n].

    Returns:
        NaN where no label is 1.
    """
    precision, recall = _curve(labels, scores)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The probability that a positive has a larger score than a negative; half where they are the same."""
    positive, negative = np.sort(scores[labels == 1]), scores[labels == 0]
    below = np.searchsorted(positive, negative, side="left")
    not_above = np.searchsorted(positive, negative, side="right")
    larger = len(positive) - (below + not_above) / 2
    pairs = len(positive) * len(negative)
    return float(larger.sum() / pairs) if pairs else float("nan")


def at_threshold(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of saying 1 from the threshold on; NaN where there is nothing to divide."""
    said = probabilities >= threshold
    hits = float(np.sum(said & (labels == 1)))
    return {
        "accuracy": float(np.mean(said == (labels == 1))),
        "precision": _share(hits, float(said.sum())),
        "recall": _share(hits, float((labels == 1).sum())),
        "f1": _share(2 * hits, float(said.sum() + (labels == 1).sum())),
    }


def of_classes(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, and the mean over the classes of the PR-AUC of each against the rest; probabilities [n, classes]."""
    areas = [
        average_precision((labels == number).astype(np.int64), probabilities[:, number])
        for number in range(probabilities.shape[1])
    ]
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
        "pr_auc": float(np.nanmean(areas)),
    }


def of_numbers(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Root of the mean squared error, mean absolute error, and the explained part of the variance."""
    errors = predictions - targets
    variance = float(np.var(targets))
    mse = float(np.mean(np.square(errors)))
    return {
        "rmse": float(np.sqrt(mse)),
        "mae": float(np.mean(np.abs(errors))),
        "r2": 1 - _share(mse, variance),
    }


def _curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at every different score, from the largest on."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    hits = np.cumsum(labels[order])
    last_of_equal = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = hits[last_of_equal].astype(np.float64)
    return hits / (last_of_equal + 1), hits / (hits[-1] or np.nan)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
