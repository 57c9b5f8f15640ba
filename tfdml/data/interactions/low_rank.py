"""Interactions out of known factors: no error can be smaller, in the mean, than that of the factors themselves."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_MEAN, _BIAS, _AFFINITY, _NOISE = 3.5, 0.4, 0.6, 0.4
_POPULARITY = 0.6  # standard deviation of the logarithm
_DAYS = 365


class Interactions(NamedTuple):
    """Columns of one length: int64 users, items and timestamps (seconds), float32 ratings."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray


@dataclass(frozen=True)
class LowRank:
    """Users and items with biases and factors, which decide what is chosen, and how it is rated.

    rating = 3.5 + b_u + b_i + p_u.q_i + noise; neither rounded nor cut, so that the noise alone, of standard
    deviation 0.4, is what no model can know. A user chooses different items, with odds popularity_i exp(p_u.q_i /
    0.6).

    Args:
        activity: interactions of a user, in the median; at most 7 of 10 items.
        rank: of the factors.
        seed: another seed, other factors and interactions.
    """

    num_users: int = 500
    num_items: int = 250
    activity: int = 150
    rank: int = 3
    seed: int = 0

    @functools.cached_property
    def _factors(self) -> tuple[np.ndarray, ...]:
        """(user biases, item biases, user factors, item factors, log of the popularity of items)."""
        draw = np.random.default_rng([self.seed, 0])
        scale = np.sqrt(_AFFINITY) / self.rank**0.25
        return (
            draw.normal(0, _BIAS, self.num_users),
            draw.normal(0, _BIAS, self.num_items),
            draw.normal(0, scale, [self.num_users, self.rank]),
            draw.normal(0, scale, [self.num_items, self.rank]),
            draw.normal(0, _POPULARITY, self.num_items),
        )

    def ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float64 [n]: what is to be expected of `users` and `items`, [n] each."""
        user_biases, item_biases, p, q, _ = self._factors
        affinity = np.sum(p[users] * q[items], axis=-1)
        return _MEAN + user_biases[users] + item_biases[items] + affinity

    def choice_scores(self) -> np.ndarray:
        """float64 [num_users, num_items]: the larger, the sooner a user chooses an item."""
        _, _, p, q, popularity = self._factors
        return popularity + p @ q.T / _AFFINITY

    def interactions(self) -> Interactions:
        """All of them, always the same ones, user by user."""
        draw = np.random.default_rng([self.seed, 1])
        # The largest of scores with Gumbel noise are drawn by their odds, without any twice.
        keys = self.choice_scores() + draw.gumbel(size=[self.num_users, self.num_items])
        order = np.argsort(-keys, axis=1)
        wanted = self.activity * np.exp(draw.normal(0, 0.4, self.num_users))
        counts = np.clip(wanted.astype(np.int64), 1, max(1, self.num_items * 7 // 10))
        users = np.repeat(np.arange(self.num_users), counts)
        items = order[np.arange(self.num_items) < counts[:, None]]
        ratings = self.ratings(users, items) + draw.normal(0, _NOISE, len(users))
        times = draw.integers(0, _DAYS * 86400, len(users))
        return Interactions(users, items, ratings.astype(np.float32), times)
