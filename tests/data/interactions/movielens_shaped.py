"""A file like MovieLens 100k's u.data: few users rate much, few items are rated often, ratings are 1 to 5."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_ratings(
    path: Path, *, num_users: int = 943, num_items: int = 1682, num_ratings: int = 100_000
) -> None:
    """Means of users and items, and affinities of rank 4, as large as MovieLens has them; tab-separated."""
    draw = np.random.default_rng(0)
    user_bias, item_bias = draw.normal(0, 0.45, num_users), draw.normal(0, 0.5, num_items)
    p, q = (draw.normal(0, 0.48, [n, 4]) for n in (num_users, num_items))
    popularity = -np.log(np.arange(num_items) + 30) + 0.5 * item_bias
    activity = draw.lognormal(0, 0.9, num_users)
    counts = np.clip(activity / activity.sum() * num_ratings, 20, num_items // 2)
    counts = (counts * num_ratings / counts.sum()).astype(int)
    counts[np.argsort(counts)[: num_ratings - counts.sum()]] += 1
    lines = []
    for user, count in enumerate(counts):
        items = np.argsort(-(popularity + draw.gumbel(size=num_items)))[:count]
        expected = 3.5 + user_bias[user] + item_bias[items] + q[items] @ p[user]
        ratings = np.clip(np.rint(expected + draw.normal(0, 0.82, count)), 1, 5).astype(int)
        times = draw.integers(874_724_710, 893_286_638, count)
        rows = zip(items + 1, ratings, times, strict=True)
        lines += [f"{user + 1}\t{item}\t{rating}\t{time}\n" for item, rating, time in rows]
    path.write_text("".join(np.array(lines)[draw.permutation(len(lines))]))
