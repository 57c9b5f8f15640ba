"""The phases of one conversion: first passes, map, gather or direct writing, side files; and how far they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from tfdml.data.conversion.direct import DirectJob, direct_tasks, write_directly
from tfdml.data.conversion.finish import finish
from tfdml.data.conversion.gather import ShardTask, Source, SplitJob, gather_shard
from tfdml.data.conversion.layout import Layout, SplitLayout, make_layout
from tfdml.data.conversion.mapping import MapJob, map_fragment
from tfdml.data.conversion.passes import run_passes
from tfdml.data.conversion.pool import NoSpace, Pool
from tfdml.data.conversion.progress import Progress
from tfdml.data.conversion.records import Reading, Tally
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.result import Result
from tfdml.data.conversion.spill import SpillSummary, read_summary
from tfdml.data.conversion.state import State, read_pickle
from tfdml.data.format.dataset_manifest import Shard
from tfdml.data.format.shards import shard_name
from tfdml.data.inputs.input import Fragment
from tfdml.errors import DataError
from tfdml.storage import Storage


class Impossible(DataError):
    """The conversion can never be finished with these settings, so nothing of it is kept."""


@dataclass(frozen=True)
class _Tasks:
    """The shards that are to be written: with what, and how large each will be, about."""

    function: Callable[..., tuple[Shard, Tally]]
    job: Any
    tasks: Sequence[Any]
    sizes: Mapping[Any, float]


class Phases:
    """The phases, and how far they are."""

    def __init__(
        self,
        request: Conversion,
        fragments: Sequence[Fragment],
        state: State,
        storage: Storage,
        pool: Pool,
        progress: Progress,
    ) -> None:
        self._request = request
        self._state = state
        self._storage = storage
        self._pool = pool
        self._progress = progress
        self._fragments = fragments
        self._tally = Tally()
        self._mapped = 0
        self._shards_done = self._shards_total = 0
        # About what is still to be written; better known when rows have been seen.
        self._bytes_left = 2 * sum(fragment.size_bytes for fragment in fragments)

    def all(self) -> Result:
        request, state = self._request, self._state
        layout = self._layout()
        tasks, kept_fragments = (
            self._map_and_plan(layout) if layout.direct is None else self._plan_directly(layout)
        )
        shards, kept_shards = self._write(tasks)
        numbers = [fragment.number for fragment in self._fragments]
        manifest = finish(
            request, layout.recipe, self._tally, shards, numbers, state, self._storage
        )
        state.remove()
        return Result(
            manifest, self._tally.counts, len(self._fragments), kept_fragments, kept_shards
        )

    def _layout(self) -> Layout:
        if self._state.layout.exists():
            layout: Layout = read_pickle(self._state.layout)
            if layout.direct is None or self._request.on_error == "fail":
                return layout
            # Bad rows are left out now, so the shards end elsewhere.
            self._state.forget_shards()
            return replace(layout, direct=None)
        bounds, stages = run_passes(
            self._request, self._fragments, self._pool, self._state, self._progress
        )
        layout = make_layout(self._request, self._fragments, stages, bounds)
        self._state.write_pickle(self._state.layout, layout)
        return layout

    def _plan_directly(self, layout: Layout) -> tuple[_Tasks, int]:
        """Shards out of the input itself."""
        request = self._request
        assert layout.direct is not None
        split, planned = next(iter(layout.splits.items()))
        num_shards = self._possible_shards(split, planned, sum(layout.direct))
        tasks = direct_tasks(request, self._fragments, layout.direct, num_shards)
        job = DirectJob(
            self._reading(layout), layout.recipe, request.compression, self._state, self._storage
        )
        return _Tasks(
            write_directly, job, tasks, dict.fromkeys(tasks, layout.estimate.bytes / num_shards)
        ), 0

    def _map_and_plan(self, layout: Layout) -> tuple[_Tasks, int]:
        """Shards out of spill files, once all of these are there; and how many were."""
        summaries, kept = self._map(layout)
        for summary in summaries.values():
            self._tally.add(summary.tally)
        self._check(self._tally)
        jobs = self._jobs(layout, summaries)
        name = self._request.name
        sizes = {
            ShardTask(split, number, shard_name(name, split, number, job.num_shards)): sum(
                source.part.frame_bytes for source in job.sources
            )
            / job.num_shards
            for split, job in jobs.items()
            for number in range(job.num_shards)
        }
        return _Tasks(gather_shard, jobs, list(sizes), sizes), kept

    def _reading(self, layout: Layout) -> Reading:
        return Reading(self._request.input, layout.bounds, keep_own=self._request.splits is None)

    def _map(self, layout: Layout) -> tuple[dict[int, SpillSummary], int]:
        """The summary of every fragment, by number."""
        request, state = self._request, self._state
        summaries = {}
        for fragment in self._fragments:
            summary = read_summary(state.spill(fragment.number))
            if summary is not None:
                summaries[fragment.number] = summary
        kept = self._mapped = len(summaries)
        left = [f for f in self._fragments if f.number not in summaries]
        total = sum(f.size_bytes for f in self._fragments)
        remaining = sum(f.size_bytes for f in left)
        per_byte = layout.estimate.bytes / max(1, total)
        job = MapJob(
            reading=self._reading(layout),
            recipe=layout.recipe,
            groups={
                split: of.groups if request.shuffle else 1 for split, of in layout.splits.items()
            },
            seed=request.seed if request.shuffle else None,
            chunk_bytes=request.group_bytes,
            on_error=request.on_error,
            state=state,
        )
        self._bytes_left = round((remaining + total) * per_byte)
        with self._progress.phase("reading", total_bytes=total, done_bytes=total - remaining):
            for fragment, summary in self._pool.run(map_fragment, job, left, self._progress.rows):
                summaries[fragment.number] = summary
                self._mapped += 1
                remaining -= fragment.size_bytes
                # What is left to be spilled, and all of it once more as shards.
                self._bytes_left = round((remaining + total) * per_byte)
                self._progress.advance(fragment.size_bytes)
        return dict(sorted(summaries.items())), kept

    def _check(self, tally: Tally) -> None:
        request = self._request
        if tally.rows == 0:
            raise Impossible(f"{request.input_name}: no rows, so there is nothing to convert.")
        if tally.errors > request.max_error_fraction * tally.rows:
            listed = map(self._state.errors, (f.number for f in self._fragments))
            first = json.loads(
                next(p for p in listed if p.exists()).read_text("utf-8").splitlines()[0]
            )
            raise DataError(
                f"{tally.errors} of {tally.rows} rows cannot be used, more than "
                f"--max_error_fraction={request.max_error_fraction:g} allows; the first is "
                f"{first['location']}: {first['reason']}. Look at the input, or run again and allow more: "
                "what was read is kept."
            )

    def _jobs(self, layout: Layout, summaries: dict[int, SpillSummary]) -> dict[str, SplitJob]:
        """How each split is gathered. Nothing has been written to the output yet."""
        request, jobs = self._request, {}
        for number, (split, planned) in enumerate(layout.splits.items()):
            parts = [
                (fragment, part)
                for fragment, summary in summaries.items()
                for part in summary.parts
                if part.split == split
            ]
            starts = accumulate((part.records for _, part in parts), initial=0)
            records = sum(part.records for _, part in parts)
            jobs[split] = SplitJob(
                split=split,
                num_shards=self._possible_shards(split, planned, records),
                groups=planned.groups if request.shuffle else 1,
                records=records,
                sources=tuple(
                    Source(fragment, part, start)
                    for (fragment, part), start in zip(parts, starts, strict=False)
                ),
                seed=(request.seed, number) if request.shuffle else None,
                group_bytes=request.group_bytes,
                labels=bool(layout.recipe.label),
                compression=request.compression,
                state=self._state,
                storage=self._storage,
            )
        return jobs

    def _possible_shards(self, split: str, planned: SplitLayout, records: int) -> int:
        """The number of shards, none of which is empty."""
        if not records:
            raise Impossible(
                f"The split {split!r} would have no records: {self._tally.rows} rows were read and "
                f"{self._tally.errors} left out. Give it a larger part, or leave it out."
            )
        if records < planned.num_shards and planned.asked:
            raise Impossible(
                f"`num_shards` is {planned.num_shards}, but the {split} split has {records} records. "
                "Ask for fewer shards."
            )
        return min(records, planned.num_shards)

    def _write(self, work: _Tasks) -> tuple[dict[str, list[Shard]], int]:
        """The shards of each split, and how many were there already."""
        done = {task: found for task in work.tasks if (found := self._in_place(task.file))}
        left = [task for task in work.tasks if task not in done]
        kept = self._shards_done = len(done)
        self._shards_total = len(work.tasks)
        bytes_left = sum(work.sizes[task] for task in left)
        total = sum(work.sizes.values())
        self._bytes_left = round(bytes_left)
        with self._progress.phase(
            "writing", total_bytes=round(total), done_bytes=round(total - bytes_left)
        ):
            for task, result in self._pool.run(work.function, work.job, left, self._progress.rows):
                done[task] = result
                self._shards_done += 1
                bytes_left -= work.sizes[task]
                self._bytes_left = round(bytes_left)
        shards: dict[str, list[Shard]] = {}
        for task in work.tasks:
            shard, tally = done[task]
            shards.setdefault(task.split, []).append(shard)
            self._tally.add(tally)
        return shards, kept

    def _in_place(self, file: str) -> tuple[Shard, Tally] | None:
        """What is known of a shard that an earlier run put into its place; None without one."""
        receipt = self._state.read_receipt(file)
        if receipt is None or not self._storage.exists(file):
            return None
        return receipt if self._storage.size(file) == receipt[0].bytes else None

    def kept(self) -> str:
        mapped = sum(self._state.spill(f.number).exists() for f in self._fragments)
        shards = f"{self._state.num_receipts()}"
        if self._shards_total:
            shards += f" of {self._shards_total}"
        return (
            f"{mapped} of {len(self._fragments)} parts of the input and {shards} shards are finished and "
            "kept; the same command goes on from there."
        )

    def no_space(self, error: NoSpace) -> str:
        # Bytes that were written and given up do not count: they have been removed.
        needed = f"about {self._bytes_left / 1e6:,.1f} MB more are needed"
        return (
            f"The disk is full ({error.place or self._request.output_dir}): {needed} for "
            f"{self._request.output_dir} and its intermediate copy (--temp_dir moves that). Free some "
            f"space: {self.kept()}"
        )
