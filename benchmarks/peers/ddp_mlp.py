"""One process of PyTorch DistributedDataParallel (gloo, its defaults) training the benchmark's MLP.

Started once a worker by `scaling.py`, with an interpreter that has torch: torch and TensorFlow cannot share a
process. Prints the samples/s of all workers together, one figure a segment, as a JSON list.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import torch
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("rank", "world", "port", "core", "per_worker", "steps", "at_once", "segments"):
        parser.add_argument(f"--{name}", type=int, required=True)
    flags = parser.parse_args()
    os.sched_setaffinity(0, {flags.core})
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{flags.port}",
        rank=flags.rank,
        world_size=flags.world,
    )
    rates = train(flags)
    print(json.dumps(rates), flush=True)
    # All leave together, and without the library's own end, which aborts now and then.
    torch.distributed.barrier()
    os._exit(0)


def train(flags: argparse.Namespace) -> list[float]:
    """Samples/s of every segment after a first one, which warms up."""
    torch.manual_seed(0)
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_function = nn.CrossEntropyLoss()
    x = torch.randn(64, flags.per_worker, 784)
    y = torch.randint(0, 10, (64, flags.per_worker))
    sums = torch.zeros(2)  # loss and right answers, of this worker

    def step(number: int) -> None:
        batch_x, batch_y = x[number % 64], y[number % 64]
        optimizer.zero_grad()
        logits = model(batch_x)
        loss = loss_function(logits, batch_y)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            sums[0] += loss.detach()
            sums[1] += (logits.argmax(1) == batch_y).sum()

    rates = []
    for _ in range(flags.segments + 1):
        begin = time.perf_counter()
        for number in range(flags.steps):
            step(number)
            if (number + 1) % flags.at_once == 0:  # the others read their metrics as often
                total = sums.clone()
                torch.distributed.all_reduce(total)
                total.tolist()
        seconds = time.perf_counter() - begin
        rates.append(flags.steps * flags.per_worker * flags.world / seconds)
    return rates[1:]


if __name__ == "__main__":
    main()
