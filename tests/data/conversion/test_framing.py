"""Records framed in blocks are those framed one by one."""

from __future__ import annotations

import random

from tfdml.data.conversion.framing import framed_block
from tfdml.data.format.record_file import frame


def test_blocks_are_the_frames_of_their_records():
    randoms = random.Random(0)
    records = [randoms.randbytes(size) for size in (0, 1, 5, 5, 300, 70_000)]
    framed, lengths = framed_block(records)
    assert framed == b"".join(map(frame, records))
    assert lengths == [len(frame(record)) for record in records]


def test_no_records_are_no_bytes():
    assert framed_block([]) == (b"", [])
