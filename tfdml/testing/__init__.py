"""Run functions in real worker processes, with time limits and without leftovers."""

from tfdml.testing.group import Workers
from tfdml.testing.task import current_task
from tfdml.testing.weights import replica_hashes, weight_hash
from tfdml.testing.worker import Worker, WorkerError
from tfdml.testing.workers import run_in_process, run_workers, start_workers

__all__ = [
    "Worker",
    "WorkerError",
    "Workers",
    "current_task",
    "replica_hashes",
    "run_in_process",
    "run_workers",
    "start_workers",
    "weight_hash",
]
