"""One conversion from beginning to end, or from where an earlier run of it was interrupted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tfdml.data.conversion.finish import Mapped, finish
from tfdml.data.conversion.gather import ShardTask, Source, SplitJob, gather_shard
from tfdml.data.conversion.layout import Layout, make_layout
from tfdml.data.conversion.mapping import MapJob, Reading, map_fragment
from tfdml.data.conversion.passes import run_passes
from tfdml.data.conversion.pool import NoSpace, Pool
from tfdml.data.conversion.progress import Progress, Silent
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.spill import SpillSummary, read_summary
from tfdml.data.conversion.state import State, finished_before, open_state, read_pickle
from tfdml.data.conversion.worker import DISK_IS_FULL
from tfdml.data.dataset_manifest import DatasetManifest, Shard
from tfdml.data.inputs.input import Fragment
from tfdml.data.shards import shard_name
from tfdml.data.statistics import SplitStatistics
from tfdml.data.storage import Storage, storage_for
from tfdml.errors import DataError

# Resident memory of a process beside the records that it holds, and how often it holds a group.
_PROCESS_BYTES = 100 << 20
_GROUPS_HELD = 2


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence that says what is kept."""


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        kept_fragments, kept_shards: that an earlier run had finished.
        fragments: in all.
        already_finished: the data set was there, made by this very conversion; nothing was done.
    """

    manifest: DatasetManifest
    counts: Counter[str]
    fragments: int = 0
    kept_fragments: int = 0
    kept_shards: int = 0
    already_finished: bool = False


class _Impossible(DataError):
    """The conversion can never be finished with these settings, so nothing of it is kept."""


def convert(
    request: Conversion, *, num_processes: int | None = None, progress: Progress | None = None
) -> Result:
    """Convert; where the same conversion was interrupted, do only what is missing.

    The files that it writes are the same bytes for any number of processes.

    Args:
        num_processes: None takes one for each processor that this process may use; fewer where
            `memory_bytes` does not allow so many.

    Raises:
        DataError: one sentence, for input that cannot be used, an output directory that holds something
            else, more shards than records, too many bad rows, or a full disk.
        Interrupted: at Ctrl-C.
    """
    progress = progress or Silent()
    storage = storage_for(request.output_dir)
    if finished := finished_before(request):
        return Result(finished, Counter(), already_finished=True)
    processes = allowed_processes(request, num_processes)
    with open_state(request) as state, Pool(processes, inherited=(state.lock,)) as pool:
        run = _Run(request, state, storage, pool, progress)
        try:
            return run.all()
        except NoSpace as error:
            raise DataError(run.no_space(error)) from None
        except DataError as error:
            if isinstance(error, _Impossible) or not run.has_progress:
                state.remove()
            raise
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
            raise DataError(run.no_space(NoSpace(str(error.filename or "")))) from None
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted. {run.kept()}") from None


def allowed_processes(request: Conversion, num_processes: int | None) -> int:
    """How many processes `memory_bytes` has room for, and at most `num_processes`."""
    wanted = num_processes or len(os.sched_getaffinity(0))
    each = _PROCESS_BYTES + _GROUPS_HELD * request.group_bytes
    return max(1, min(wanted, request.memory_bytes // each))


class _Run:
    """The phases, and how far they are."""

    def __init__(
        self, request: Conversion, state: State, storage: Storage, pool: Pool, progress: Progress
    ) -> None:
        self._request = request
        self._state = state
        self._storage = storage
        self._pool = pool
        self._progress = progress
        self._fragments: Sequence[Fragment] = ()
        self._mapped = 0
        self._shards_done = self._shards_total = 0
        self._bytes_left = 0  # about what is still to be written

    def all(self) -> Result:
        self._fragments = request_fragments(self._request)
        layout = self._layout()
        kept = sum(self._state.spill(f.number).exists() for f in self._fragments)
        summaries = self._map(layout)
        mapped = _added(summaries.values())
        self._check(mapped)
        jobs = self._jobs(layout, summaries, mapped)
        shards, kept_shards = self._gather(jobs)
        numbers = [fragment.number for fragment in self._fragments]
        manifest = finish(
            self._request, layout, mapped, shards, numbers, self._state, self._storage
        )
        self._state.remove()
        return Result(manifest, mapped.counts, len(self._fragments), kept, kept_shards)

    def _layout(self) -> Layout:
        if self._state.layout.exists():
            return read_pickle(self._state.layout)
        bounds, stages = run_passes(
            self._request, self._fragments, self._pool, self._state, self._progress
        )
        layout = make_layout(self._request, self._fragments, stages, bounds)
        self._state.write_pickle(self._state.layout, layout)
        return layout

    def _map(self, layout: Layout) -> dict[int, SpillSummary]:
        """The summary of every fragment, by number."""
        request, state = self._request, self._state
        summaries = {}
        for fragment in self._fragments:
            summary = read_summary(state.spill(fragment.number))
            if summary is not None:
                summaries[fragment.number] = summary
        left = [f for f in self._fragments if f.number not in summaries]
        total = sum(f.size_bytes for f in self._fragments)
        remaining = sum(f.size_bytes for f in left)
        per_byte = layout.estimate.bytes / max(1, total)
        self._mapped = len(summaries)
        job = MapJob(
            reading=Reading(request.input, layout.bounds, keep_own=request.splits is None),
            stages=layout.stages,
            schema=layout.schema,
            groups={
                split: of.groups if request.shuffle else 1 for split, of in layout.splits.items()
            },
            label=layout.label,
            seed=request.seed if request.shuffle else None,
            chunk_bytes=request.group_bytes,
            on_error=request.on_error,
            state=state,
        )
        with self._progress.phase("reading", total_bytes=total, done_bytes=total - remaining):
            for fragment, summary in self._pool.run(map_fragment, job, left, self._progress.rows):
                summaries[fragment.number] = summary
                self._mapped += 1
                remaining -= fragment.size_bytes
                # What is left to be spilled, and all of it once more as shards.
                self._bytes_left = round((remaining + total) * per_byte)
                self._progress.advance(fragment.size_bytes)
        return dict(sorted(summaries.items()))

    def _check(self, mapped: Mapped) -> None:
        request = self._request
        if mapped.rows == 0:
            raise _Impossible(f"{_name_of(request)}: no rows, so there is nothing to convert.")
        if mapped.errors > request.max_error_fraction * mapped.rows:
            first = next(
                path.read_text(encoding="utf-8").splitlines()[0]
                for path in map(self._state.errors, (f.number for f in self._fragments))
                if path.exists()
            )
            raise _Impossible(
                f"{mapped.errors} of {mapped.rows} rows cannot be used, more than "
                f"--max_error_fraction={request.max_error_fraction:g} allows; the first is {first}. "
                "Look at the input, or allow more."
            )

    def _jobs(
        self, layout: Layout, summaries: dict[int, SpillSummary], mapped: Mapped
    ) -> dict[str, SplitJob]:
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
            sources = tuple(
                Source(fragment, part, start)
                for (fragment, part), start in zip(parts, starts, strict=False)
            )
            records = sum(part.records for _, part in parts)
            num_shards = planned.num_shards
            if not records:
                raise _Impossible(
                    f"The split {split!r} would have no records: {mapped.rows} rows were read and "
                    f"{mapped.errors} left out. Give it a larger part, or leave it out."
                )
            if records < num_shards:
                if planned.asked:
                    raise _Impossible(
                        f"`num_shards` is {num_shards}, but the {split} split has {records} records. "
                        "Ask for fewer shards."
                    )
                num_shards = records
            jobs[split] = SplitJob(
                split=split,
                num_shards=num_shards,
                groups=planned.groups if request.shuffle else 1,
                records=records,
                sources=sources,
                seed=(request.seed, number) if request.shuffle else None,
                group_bytes=request.group_bytes,
                labels=bool(layout.label),
                compression=request.compression,
                state=self._state,
                storage=self._storage,
            )
        return jobs

    def _gather(self, jobs: dict[str, SplitJob]) -> tuple[dict[str, list[Shard]], int]:
        """The shards of each split, and how many were there already."""
        name = self._request.name
        tasks = [
            ShardTask(split, number, shard_name(name, split, number, job.num_shards))
            for split, job in jobs.items()
            for number in range(job.num_shards)
        ]
        done = {task: shard for task in tasks if (shard := self._in_place(task.file))}
        left = [task for task in tasks if task not in done]
        sizes = {split: _frame_bytes(job) / job.num_shards for split, job in jobs.items()}
        total = round(sum(sizes[task.split] for task in tasks))
        self._bytes_left = round(sum(sizes[task.split] for task in left))
        self._shards_total, self._shards_done = len(tasks), len(done)
        kept = len(done)
        with self._progress.phase(
            "writing", total_bytes=total, done_bytes=total - self._bytes_left
        ):
            for task, shard in self._pool.run(gather_shard, jobs, left, self._progress.rows):
                done[task] = shard
                self._shards_done += 1
                self._bytes_left -= round(sizes[task.split])
        shards: dict[str, list[Shard]] = {split: [] for split in jobs}
        for task in tasks:
            shards[task.split].append(done[task])
        return shards, kept

    def _in_place(self, file: str) -> Shard | None:
        shard = self._state.read_receipt(file)
        there = shard and self._storage.exists(file) and self._storage.size(file) == shard.bytes
        return shard if there else None

    @property
    def has_progress(self) -> bool:
        """Whether anything is finished that another run could go on from."""
        return bool(self._mapped or self._shards_done)

    def kept(self) -> str:
        return (
            f"{self._mapped} of {len(self._fragments)} parts of the input and {self._shards_done} of "
            f"{self._shards_total or '?'} shards are finished and kept; the same command goes on from there."
        )

    def no_space(self, error: NoSpace) -> str:
        # Bytes that were written and given up do not count: they have been removed.
        needed = f"about {self._bytes_left / 1e6:,.1f} MB more are needed"
        return (
            f"The disk is full ({error.place or self._request.output_dir}): {needed} for "
            f"{self._request.output_dir} and its intermediate copy (--temp_dir moves that). Free some "
            f"space: {self.kept()}"
        )


def request_fragments(request: Conversion) -> Sequence[Fragment]:
    """The fragments of the input.

    Raises:
        DataError: when there are none.
    """
    fragments = request.input.fragments()
    if not fragments:
        raise DataError(f"{_name_of(request)}: no rows, so there is nothing to convert.")
    return fragments


def _name_of(request: Conversion) -> str:
    files = request.input.files
    if not files:
        return "The input"
    return files[0].path if len(files) == 1 else f"{files[0].path} and {len(files) - 1} other files"


def _added(summaries: Iterable[SpillSummary]) -> Mapped:
    rows = errors = 0
    counts: Counter[str] = Counter()
    statistics: dict[str, SplitStatistics] = {}
    for summary in summaries:
        rows += summary.rows
        errors += summary.errors
        counts += summary.counts
        for split, of_split in summary.statistics.items():
            statistics[split] = statistics.get(split, SplitStatistics()).merge(of_split)
    return Mapped(rows, errors, counts, statistics)


def _frame_bytes(job: SplitJob) -> int:
    return sum(source.part.frame_bytes for source in job.sources)
