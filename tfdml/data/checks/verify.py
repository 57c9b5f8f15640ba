"""Checks a directory of shards: what is missing, too much, damaged, or not what the manifest says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

from tfdml.data.checks.verify_shard import ShardJob, ShardReport, ShardTask, check_shard
from tfdml.data.conversion.pool import Pool
from tfdml.data.format import tfds_layout
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.dataset_manifest import FILE_NAME, DamagedManifest, DatasetManifest
from tfdml.data.format.features import Schema
from tfdml.data.format.guess_schema import guess_schema
from tfdml.data.format.index import DIRECTORY, SUFFIX, index_name
from tfdml.data.format.shards import check_complete, parse_shard_name, shards_by_split
from tfdml.errors import DataError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; `file` is relative to the directory, or "" for all of it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" if self.file else self.what


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        findings: of the directory first, then of its shards in their order.
        decoded: how many records were decoded.
        notes: what could not be checked, and why.
    """

    findings: tuple[Finding, ...]
    shards: int
    records: int
    num_bytes: int
    decoded: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What will be read: the shards that are there, and what was wrong before any was opened."""

    directory: DatasetDirectory
    tasks: tuple[ShardTask, ...]
    findings: tuple[Finding, ...]
    full: bool
    sample: int
    num_bytes: int


def plan_verify(
    url: str | PathLike[str], *, split: str | None = None, full: bool = False, sample: int = 100
) -> Plan:
    """Look at names, sizes and side files.

    Args:
        split: one split only; None for all.
        full: decode every record, and compare the labels with the manifest's histogram.
        sample: how many records of each shard to decode otherwise.

    Raises:
        DataError: as `DatasetDirectory.open`, and for an unknown split.
    """
    tasks, findings = [], []
    try:
        directory = DatasetDirectory.open(url)
    except DamagedManifest as error:
        directory = DatasetDirectory.open(url, with_manifest=False)
        findings.append(
            Finding(
                FILE_NAME, str(error).removeprefix(f"{directory.storage.location(FILE_NAME)}: ")
            )
        )
    counts = directory.tfds.shard_records if directory.tfds else {}
    expected = {}
    if directory.manifest:
        expected = {s.file: s for shards in directory.manifest.splits.values() for s in shards}
    for of_split, file in directory.shards(split):
        if file not in directory.files:
            findings.append(Finding(file, "is missing"))
            continue
        name = parse_shard_name(file)
        lengths = counts.get(of_split, ())
        known = lengths[name.index] if name and name.index < len(lengths) else None
        has_index = index_name(file) in directory.files
        tasks.append(ShardTask(of_split, file, expected.get(file), known, has_index))
    if split is None:
        findings += _too_much(directory)
    findings += _side_files(directory)
    if directory.manifest:
        findings += _sums(directory.manifest, directory.files)
    else:
        findings += _incomplete(directory, split)
    total = sum(directory.storage.size(task.file) for task in tasks)
    return Plan(directory, tuple(tasks), tuple(findings), full, sample, total)


def verify(
    plan: Plan,
    *,
    num_processes: int = 1,
    on_progress: Callable[[int, int], None] = lambda rows, num_bytes: None,
) -> VerifyReport:
    """Read every shard of the plan, each from its start to its end."""
    schema, notes = _schema(plan)
    manifest = plan.directory.manifest
    job = ShardJob(
        plan.directory.storage,
        schema,
        None if plan.full else plan.sample,
        manifest.compression if manifest else None,
    )
    reports: dict[ShardTask, ShardReport] = {}
    with Pool(num_processes) as pool:
        for task, report in pool.run(check_shard, job, plan.tasks, on_progress):
            reports[task] = report
    in_order = [(task, reports[task]) for task in plan.tasks]
    findings = [*plan.findings]
    for task, report in in_order:
        findings += [Finding(task.file, what) for what in report.findings]
    if plan.full and manifest:
        findings += _histograms(manifest, in_order)
    return VerifyReport(
        tuple(findings),
        len(in_order),
        sum(report.records for _, report in in_order),
        sum(report.num_bytes for _, report in in_order),
        sum(report.decoded for _, report in in_order),
        tuple(notes),
    )


def _schema(plan: Plan) -> tuple[Schema | None, list[str]]:
    """The schema to decode with, and what is to be said about it."""
    directory = plan.directory
    notes = [f"{name} is not checked: {what}" for name, what in directory.other_features.items()]
    if directory.schema is not None:
        return directory.schema or None, notes
    try:
        schema = guess_schema(directory.records(plan.tasks[0].file)) if plan.tasks else None
    except DataError as error:
        return None, [f"what is in the records is not checked: nothing describes it, and {error}"]
    return schema, ["nothing describes the records, their features are guessed from the first"]


def _too_much(directory: DatasetDirectory) -> list[Finding]:
    """Files that belong to no shard."""
    known = {file for files in directory.splits.values() for file in files}
    findings = []
    for file in sorted(directory.files - known):
        if file.startswith(f"{DIRECTORY}/") and file.endswith(SUFFIX):
            if file.removeprefix(f"{DIRECTORY}/").removesuffix(SUFFIX) not in known:
                findings.append(Finding(file, "is an index of a shard that is not there"))
        elif directory.manifest and parse_shard_name(file):
            findings.append(Finding(file, "is a shard that the manifest does not know"))
    return findings


def _side_files(directory: DatasetDirectory) -> list[Finding]:
    """What TFDS would read, against the manifest."""
    if not directory.manifest:
        return []
    findings = []
    for name, content in tfds_layout.tfds_files(directory.manifest).items():
        if name not in directory.files:
            findings.append(Finding(name, "is missing, so TFDS cannot read the data set"))
            continue
        found = directory.storage.read_bytes(name)
        try:
            fits = _comparable(name, found) == _comparable(name, content)
        except (ValueError, DataError):
            fits = False
        if not fits:
            findings.append(Finding(name, "does not fit the manifest; convert again"))
    return findings


def _comparable(name: str, content: bytes) -> object:
    """What matters of a side file: its layout and descriptions are free."""
    if name == tfds_layout.INFO_FILE:
        info = tfds_layout.read_info(content)
        return info.name, info.shard_records
    return json.loads(content) if name.endswith(".json") else content


def _sums(manifest: DatasetManifest, files: frozenset[str]) -> list[Finding]:
    """What the manifest says in two places, or of other files."""
    findings = []
    if manifest.skipped_list and manifest.skipped_list not in files:
        findings.append(Finding(manifest.skipped_list, "is missing, the list of skipped rows"))
    for split, histogram in manifest.label_histogram.items():
        for name, counts in histogram.items():
            total, records = sum(counts.values()), manifest.num_records(split)
            if total != records:
                findings.append(
                    Finding(
                        FILE_NAME,
                        f"counts {total:,} labels {name!r} in {split}, which has {records:,} records",
                    )
                )
    return findings


def _incomplete(directory: DatasetDirectory, split: str | None) -> list[Finding]:
    """Without a manifest, shards that their names and TFDS say are missing."""
    findings = []
    by_split = shards_by_split(directory.files)
    for of_split in dict.fromkeys((*directory.splits, *(directory.tfds or _NO_TFDS).shard_records)):
        if split not in (None, of_split):
            continue
        if of_split not in by_split:
            findings.append(
                Finding(tfds_layout.INFO_FILE, f"has the split {of_split!r}, which has no shards")
            )
            continue
        try:
            check_complete("", of_split, by_split[of_split])
        except DataError as error:
            findings.append(Finding("", str(error).removeprefix(": ").partition(". ")[0]))
    return findings


_NO_TFDS = tfds_layout.TfdsInfo("", "", "", {})


def _histograms(
    manifest: DatasetManifest, reports: Sequence[tuple[ShardTask, ShardReport]]
) -> list[Finding]:
    """The labels of all records, against the manifest's; for splits that could be decoded whole."""
    findings = []
    for split, histogram in manifest.label_histogram.items():
        of_split = [report for task, report in reports if task.split == split]
        if len(of_split) < len(manifest.splits[split]):
            continue
        for name, expected in histogram.items():
            found = sum((report.labels.get(name, Counter()) for report in of_split), Counter())
            wrong = [k for k in sorted({*found, *expected}) if found[k] != expected.get(k, 0)]
            if wrong:
                findings.append(
                    Finding(
                        FILE_NAME,
                        f"{split} has {found[wrong[0]]:,} records with the {name} {wrong[0]}, the "
                        f"manifest says {expected.get(wrong[0], 0):,}"
                        + (f"; {len(wrong)} labels differ" if len(wrong) > 1 else ""),
                    )
                )
    return findings
