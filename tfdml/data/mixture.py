"""Several record sets in given proportions, as one order: what is drawn next depends on the draw's number alone.

Draws are numbered through all epochs. A pattern of fixed length says for each place in it which component is drawn;
it repeats, and holds each component in its proportion, spread evenly: every batch and every worker's part of it has
the proportions, up to a record or so. The i-th draw of a component is its i-th record in a permutation of its own;
after all of its records a new pass with a new permutation begins. So within a pass every record comes once, a small
set comes round more often than a large one, passes go on over the end of an epoch, and an epoch is a number of steps.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfdml.data import permutation
from tfdml.data.order import Draw, check_batch_size, check_step, first_ids_of
from tfdml.data.records import RecordSet
from tfdml.errors import ConfigError

# Proportions are kept to one part in this many, or in four times the components where that is more.
_PATTERN = 4096


@dataclass(frozen=True, eq=False)
class Mixture:
    """Draws from components in proportion to weights; see `of_sets` and `class_balanced`.

    Args:
        components: for each the ids of its records, a range or int64.
        weights: how many draws each component gets, in proportion; rounded to the pattern, but not to none.
        num_records: how many records are numbered, drawn or not.
        global_batch_size: records of one step, on all replicas together.
        steps_per_epoch: how many steps make an epoch; 0: as many as draw about `num_records` records.
        seed: another seed, another order.

    Raises:
        ConfigError: weights that are no proportions, a component without records.
    """

    components: Sequence[range | np.ndarray]
    weights: Sequence[float]
    num_records: int
    global_batch_size: int
    steps_per_epoch: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_batch_size(self.global_batch_size)
        if len(self.components) != len(self.weights) or not len(self.components):
            raise ConfigError(
                f"a mixture needs components, and a weight for each, got {len(self.components)} components and "
                f"{len(self.weights)} weights."
            )
        weights = np.asarray(self.weights, np.float64)
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            raise ConfigError(
                f"the weights of a mixture must be positive, got {list(self.weights)}. Leave out what is not wanted."
            )
        for number, component in enumerate(self.components):
            if not len(component):
                raise ConfigError(f"component {number} of the mixture has no record. Leave it out.")
        if self.steps_per_epoch < 0:
            raise ConfigError(f"`steps_per_epoch` must be at least 1, got {self.steps_per_epoch}.")
        if self.steps_per_epoch == 0:
            steps = max(1, round(self.num_records / self.global_batch_size))
            object.__setattr__(self, "steps_per_epoch", steps)

    @classmethod
    def of_sets(
        cls,
        sets: Sequence[tuple[RecordSet, float]],
        global_batch_size: int,
        *,
        steps_per_epoch: int = 0,
        seed: int = 0,
    ) -> tuple[RecordSet, Mixture]:
        """(all records, their order) of record sets with weights, for `Source(records, order)`."""
        if not sets:
            raise ConfigError("a mixture needs at least one record set.")
        records = functools.reduce(lambda one, other: one + other, (part for part, _ in sets))
        firsts = first_ids_of([part.num_records for part, _ in sets]).tolist()
        components = [range(a, b) for a, b in itertools.pairwise(firsts)]
        weights = [weight for _, weight in sets]
        num = records.num_records
        return records, cls(components, weights, num, global_batch_size, steps_per_epoch, seed)

    @classmethod
    def class_balanced(
        cls,
        labels: np.ndarray,
        global_batch_size: int,
        *,
        class_weights: Mapping[int, float] | None = None,
        steps_per_epoch: int = 0,
        seed: int = 0,
    ) -> Mixture:
        """Draws classes equally often, however many records each has: by inverse frequency.

        Args:
            labels: of all records, int [num_records], as `RecordSet.labels` gives them.
            class_weights: other proportions, label -> weight. Every label that occurs must be named; 0 leaves
                its records out.

        Raises:
            ConfigError: a label without a weight, a weight without a record, or a record without a label (-1).
        """
        unlabelled = int((labels < 0).sum())
        if unlabelled:
            raise ConfigError(
                f"{unlabelled} of {len(labels)} records have no label (a negative one), and cannot be balanced. "
                "Convert them without, or give them a class of their own."
            )
        found, inverse = np.unique(labels, return_inverse=True)
        named = found.tolist()
        if class_weights is None:
            class_weights = dict.fromkeys(named, 1.0)
        without = sorted(set(named) ^ set(class_weights))
        if without:
            raise ConfigError(
                f"`class_weights` must name the labels that occur and no others; {without[:10]} "
                f"{'is' if len(without) == 1 else 'are'} on one side only. The labels are {named[:20]}"
                f"{' ...' if len(named) > 20 else ''}."
            )
        by_class = np.split(
            np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1]
        )
        used = [i for i, label in enumerate(named) if class_weights[label] != 0]
        components = [by_class[i].astype(np.int64) for i in used]
        weights = [class_weights[named[i]] for i in used]
        num = len(labels)
        return cls(components, weights, num, global_batch_size, steps_per_epoch, seed)

    @property
    def records_per_epoch(self) -> int:
        """Records that an epoch draws; all batches are full."""
        return self.steps_per_epoch * self.global_batch_size

    def rows(self, step: int) -> int:
        """Records in the global batch of a step."""
        check_step(step, self.steps_per_epoch)
        return self.global_batch_size

    def record_ids(self, epoch: int, step: int) -> np.ndarray:
        """int64 [rows(step)]: the records of the whole global batch."""
        return self.draw(epoch, step).ids

    def draw(self, epoch: int, step: int) -> Draw:
        """The records of the whole global batch, and in which pass of its component each is."""
        first = epoch * self.records_per_epoch + step * self.global_batch_size
        numbers = first + np.arange(self.rows(step), dtype=np.int64)
        cycles, places = np.divmod(numbers, len(self.pattern))
        drawn = self.pattern[places]
        passes, at = np.divmod(cycles * self.counts[drawn] + self.ranks[places], self.sizes[drawn])
        ids = np.empty_like(numbers)
        for component in np.unique(drawn):
            for number in np.unique(passes[drawn == component]):
                here = (drawn == component) & (passes == number)
                size = int(self.sizes[component])
                numbers_of_key = (permutation.OF_PASS, int(number), int(component))
                local = permutation.permuted_at_any_size(at[here], size, self.seed, *numbers_of_key)
                ids[here] = np.asarray(self.components[component])[local]
        return Draw(ids, passes)

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """int64 [components]: records of each."""
        return np.array([len(component) for component in self.components], np.int64)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """int64 [components]: how often each is drawn in one pattern."""
        share = np.asarray(self.weights, np.float64)
        length = max(_PATTERN, 4 * len(share))
        exact = share / share.sum() * length
        counts = np.maximum(np.floor(exact), 1).astype(np.int64)
        # What is left goes to those that lost most by rounding.
        order = np.argsort(counts - exact, kind="stable")
        for component in order[: max(0, length - int(counts.sum()))]:
            counts[component] += 1
        return counts // np.gcd.reduce(counts)

    @functools.cached_property
    def pattern(self) -> np.ndarray:
        """int64 [sum(counts)]: the component that is drawn at each place."""
        components = np.repeat(np.arange(len(self.counts)), self.counts)
        ranks = np.concatenate([np.arange(count) for count in self.counts])
        return components[np.argsort((ranks + 0.5) / self.counts[components], kind="stable")]

    @functools.cached_property
    def ranks(self) -> np.ndarray:
        """int64 [sum(counts)]: how often a place's component was drawn in the pattern before."""
        ranks = np.empty_like(self.pattern)
        for component in range(len(self.counts)):
            here = self.pattern == component
            ranks[here] = np.arange(here.sum())
        return ranks
