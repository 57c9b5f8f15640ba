"""How far the clocks of tasks are apart, from collectives that all of them went through.

Nobody leaves a collective before everybody has entered it. With e_i and x_i the times at which task i entered and
left one, by its own clock, and o_i what that clock shows too much,

    x_i - o_i >= e_j - o_j    so that    max (e_j - x_i) <= o_j - o_i <= min (x_j - e_i)

over all collectives that both went through: the bound of NTP (RFC 5905, section 8: the error is at most half of
the round trip), with a collective as the round trip. It needs no message of its own and assumes nothing about how
long a collective takes or who leaves first. Tasks of one host read one clock, so there is nothing to estimate
between them.
"""

from __future__ import annotations

from collections import deque

import numpy as np

# Clocks drift by some 1e-5: within so many measured executions the bounds stay good enough.
_KEPT = 20


class Clocks:
    """Offsets of the replicas' clocks to that of the first, as more and more collectives are known."""

    def __init__(self) -> None:
        self._bounds: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_KEPT)

    def update(
        self, entries: np.ndarray, exits: np.ndarray, hosts: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Take in some collectives, and return what is known now.

        Args:
            entries, exits: [num_replicas, collectives], seconds by each one's own clock.
            hosts: [num_replicas], equal where the clock is the same.

        Returns:
            [num_replicas] offsets in seconds: a replica's clock less that of the first; and the largest error,
            half of the widest bound.
        """
        if not entries.shape[1]:
            return np.zeros(len(hosts)), 0.0
        lower = (entries - exits[:1]).max(axis=1)
        upper = (exits - entries[:1]).min(axis=1)
        self._bounds.append((lower, upper))
        lower = np.max([each for each, _ in self._bounds], axis=0)
        upper = np.min([each for _, each in self._bounds], axis=0)
        offsets = (lower + upper) / 2
        errors = np.abs(upper - lower) / 2
        # One clock, one offset: the best known of those who read it.
        for host in np.unique(hosts):
            same = np.flatnonzero(hosts == host)
            best = same[np.argmin(errors[same])]
            offsets[same], errors[same] = offsets[best], errors[best]
        own = hosts == hosts[0]
        offsets[own], errors[own] = 0.0, 0.0
        return offsets, float(errors.max())
