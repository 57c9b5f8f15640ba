"""How good recommendations are, in NumPy: of ratings by their error, of rankings by what is found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Columns = Mapping[str, np.ndarray]


def rmse(expected: np.ndarray, ratings: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(expected - ratings))))


def means_rmse(train: Columns, test: Columns, num_users: int, num_items: int) -> float:
    """Of predicting mean + b_u + b_i, fitted to `train` by ridge regression: what knowing the means is worth.

    Means of few ratings are drawn to 0 as by 5 more ratings (Koren 2010, section 2.1).
    """
    mean = train["rating"].mean()
    biases = {"user": np.zeros(num_users), "item": np.zeros(num_items)}
    for _ in range(10):
        for one, other in (("item", "user"), ("user", "item")):
            rest = train["rating"] - mean - biases[other][train[other]]
            size = len(biases[one])
            sums = np.bincount(train[one], rest, size)
            biases[one] = sums / (5 + np.bincount(train[one], minlength=size))
    expected = mean + biases["user"][test["user"]] + biases["item"][test["item"]]
    return rmse(expected, test["rating"])


def rank_each(
    scores_of: Callable[[np.ndarray], np.ndarray], train: Columns, test: Columns, top_k: int
) -> dict[str, np.ndarray]:
    """Columns user, recall, ndcg [n]: for each user of `test`, of the items that it did not have in `train`.

    All items are ranked. Recall is the found part of a user's test items; NDCG (Järvelin and Kekäläinen 2002) divides
    by what the best ranking of min(k, test items) items would have.

    Args:
        scores_of: user numbers [n] -> scores [n, items].
    """
    known, wanted = _by_user(train), _by_user(test)
    gains = 1 / np.log2(np.arange(2, top_k + 2))
    rows: list[tuple[int, float, float]] = []
    users = np.array(sorted(wanted))
    for some in np.array_split(users, -(-len(users) // 1024)):
        for user, scores in zip(some, np.array(scores_of(some), np.float64), strict=True):
            seen = known.get(user, set())
            new = wanted[user] - seen
            if not new:
                continue
            scores[list(seen)] = -np.inf
            best = np.argsort(-scores, kind="stable")[:top_k]
            hits = np.isin(best, list(new))
            recall = hits.sum() / len(new)
            rows.append((user, recall, gains[: len(best)][hits].sum() / gains[: len(new)].sum()))
    columns = np.array(rows, np.float64).reshape(-1, 3).T
    return {"user": columns[0].astype(np.int64), "recall": columns[1], "ndcg": columns[2]}


def rank_all(
    scores_of: Callable[[np.ndarray], np.ndarray], train: Columns, test: Columns, top_k: int
) -> tuple[float, float]:
    """(recall@k, NDCG@k): the means of `rank_each` over the users; NaN where there is none."""
    each = rank_each(scores_of, train, test, top_k)
    if not len(each["user"]):
        return float("nan"), float("nan")
    return float(each["recall"].mean()), float(each["ndcg"].mean())


def _by_user(columns: Columns) -> dict[int, set[int]]:
    items: dict[int, set[int]] = {}
    for user, item in zip(columns["user"].tolist(), columns["item"].tolist(), strict=True):
        items.setdefault(user, set()).add(item)
    return items
