"""One conversion from beginning to end, or from where an earlier run of it was interrupted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from tfdml.data.conversion.phases import Impossible, Phases
from tfdml.data.conversion.pool import NoSpace, Pool
from tfdml.data.conversion.progress import Progress, Silent
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.result import Result
from tfdml.data.conversion.state import finished_before, open_state
from tfdml.data.conversion.worker import DISK_IS_FULL
from tfdml.data.inputs.input import Fragment
from tfdml.data.stages.stage import schema_after
from tfdml.errors import DataError
from tfdml.storage import storage_for

# Resident memory of a process beside the records that it holds, and how often it holds a group.
_PROCESS_BYTES = 100 << 20
# Less input than this is converted sooner than other processes have started.
_WORTH_PROCESSES_BYTES = 4 << 20
_GROUPS_HELD = 2


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence that says what is kept."""


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
    schema_after(request.stages, request.input.schema)  # for its errors, before anything is begun
    if finished := finished_before(request):
        return Result(finished, Counter(), already_finished=True)
    fragments = request_fragments(request)
    processes = allowed_processes(request, fragments, num_processes)
    with open_state(request) as state, Pool(processes, inherited=(state.lock,)) as pool:
        run = Phases(request, fragments, state, storage, pool, progress)
        try:
            return run.all()
        except NoSpace as error:
            raise DataError(run.no_space(error)) from None
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
            raise DataError(run.no_space(NoSpace(str(error.filename or "")))) from None
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted. {run.kept()}") from None
        except Exception as error:
            if isinstance(error, Impossible) or not state.has_finished_parts():
                state.remove()
            raise


def allowed_processes(
    request: Conversion, fragments: Sequence[Fragment], num_processes: int | None
) -> int:
    """How many processes `memory_bytes` has room for, and at most `num_processes`; None takes as many as pay."""
    small = sum(fragment.size_bytes for fragment in fragments) < _WORTH_PROCESSES_BYTES
    wanted = num_processes or (1 if small else len(os.sched_getaffinity(0)))
    wanted = min(wanted, max(len(fragments), request.num_shards or 1))
    each = _PROCESS_BYTES + _GROUPS_HELD * request.group_bytes
    return max(1, min(wanted, request.memory_bytes // each))


def request_fragments(request: Conversion) -> Sequence[Fragment]:
    """The fragments of the input.

    Raises:
        DataError: when there are none.
    """
    fragments = request.input.fragments()
    if not fragments:
        raise DataError(f"{request.input_name}: no rows, so there is nothing to convert.")
    return fragments
