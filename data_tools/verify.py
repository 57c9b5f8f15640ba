"""Check shards: damage, loss, and what does not fit the manifest.

    tfdml verify shards                      # or: python -m data_tools.verify shards
    tfdml verify shards --full               # decode every record, not some of each shard
    tfdml verify s3://bucket/shards --split=test

Every byte is read, and every record checked against its checksum. With a manifest (tfdml convert
writes one) files are checked against it too: their number, sizes, checksums and records; and indexes
and TFDS's side files, where there are some. Some records of each shard are decoded: features, images,
UTF-8, labels.

Each finding is one line on standard output. The exit status is 0 without findings, 1 with findings,
2 when nothing could be checked.
"""

from __future__ import annotations

from absl import flags

from tfdml.cli.data_tool import one_directory, run_tool
from tfdml.data.checks.processes import reading_processes
from tfdml.data.checks.verify import plan_verify, verify
from tfdml.data.conversion.progress import shown

_INPUT_DIR = flags.DEFINE_string("input_dir", None, "The directory of shards, or its URL.")
_SPLIT = flags.DEFINE_string("split", None, "Check one split only.")
_FULL = flags.DEFINE_boolean(
    "full", False, "Decode every record, and compare the labels with the manifest."
)
_SAMPLE = flags.DEFINE_integer(
    "sample", 100, "So many records of each shard are decoded without --full.", lower_bound=1
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 0, "Shards that are read at once; 0: one for each processor.", lower_bound=0
)


def main(words: list[str]) -> int:
    url = one_directory(words, _INPUT_DIR.value)
    plan = plan_verify(url, split=_SPLIT.value, full=_FULL.value, sample=_SAMPLE.value)
    progress = shown()
    with progress.phase("verify", total_bytes=plan.num_bytes, done_bytes=0):
        report = verify(
            plan,
            num_processes=reading_processes(_NUM_PROCESSES.value, plan.num_bytes),
            on_progress=progress.rows,
        )
    for finding in report.findings:
        print(finding)
    for note in report.notes:
        print(f"note: {note}")
    count = len(report.findings)
    result = "nothing wrong" if not count else f"{count} finding{'s'[: count > 1]}"
    print(
        f"{report.shards:,} shards, {report.records:,} records ({report.decoded:,} decoded), "
        f"{report.num_bytes:,} bytes: {result}"
    )
    return 1 if count else 0


if __name__ == "__main__":
    run_tool(main, __doc__)
