"""One process of PyTorch's ways to exchange gradients over gloo: all-reduce, and DDP with and without hooks.

Started once a worker by `exchange.py`, with an interpreter that has torch. The DDP sides get their gradients
from a backward pass that computes nothing, so that what is timed is the exchange alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from taking_turns import Side, serve
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as powersgd

# DDP forms its buckets anew in the second step; PowerSGD may begin in the third.
FIRST_POWERSGD_STEP = 2
STEPS_TO_LOOK = 4

# The hook waits in the threads that would have to carry out what it waits for.
SEVERAL_BUCKETS = (
    "PyTorch's PowerSGD hook hangs over gloo with several buckets (pytorch issue 48478)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=json.loads, required=True, help="of the gradients")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")  # everything else is in the environment
    of_workers = [make_gradients(worker, flags.shapes) for worker in range(dist.get_world_size())]
    exact = [np.sum(parts, axis=0) for parts in zip(*of_workers, strict=True)]
    mine = [torch.from_numpy(gradient) for gradient in of_workers[dist.get_rank()]]
    sides = {
        "gloo float32": all_reduce(mine, exact, torch.float32),
        "gloo float16": all_reduce(mine, exact, torch.float16),
        "DDP": ddp(mine, exact, lambda model: None),
        "DDP fp16 hook": ddp(
            mine,
            exact,
            lambda model: model.register_comm_hook(None, default_hooks.fp16_compress_hook),
        ),
    }
    skipped = {}
    for rank in (1, 4):
        name = f"DDP PowerSGD r{rank}"
        if len(mine) == 1:
            sides[name] = ddp(mine, exact, powersgd_hook(rank))
        else:
            skipped[name] = SEVERAL_BUCKETS
    serve(sides, skipped)
    os._exit(0)  # the library's own end aborts now and then


def make_gradients(worker: int, shapes: list[list[int]]) -> list[np.ndarray]:
    generator = np.random.default_rng(worker)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def all_reduce(mine: list[torch.Tensor], exact: list[np.ndarray], dtype: torch.dtype) -> Side:
    """One flat all-reduce in place; for half precision with the conversions, there and back."""
    flat = torch.cat([gradient.reshape(-1) for gradient in mine])
    buffer = flat.clone()

    def prepare() -> None:
        buffer.copy_(flat)  # a model's gradients would be new, too

    def exchange() -> None:
        travels = buffer.to(dtype)  # float32: the buffer itself
        dist.all_reduce(travels)
        if dtype != torch.float32:
            buffer.copy_(travels)

    def look() -> dict:
        prepare()
        exchange()
        return compare([buffer], exact)

    return Side(look, exchange, prepare)


class GivenGradients(torch.autograd.Function):
    """Zero, whose gradients with respect to the parameters are the given ones."""

    @staticmethod
    def forward(ctx, gradients, *parameters):
        ctx.gradients = gradients
        return torch.zeros((), requires_grad=True)

    @staticmethod
    def backward(ctx, _):
        return (None, *ctx.gradients)


class Model(nn.Module):
    def __init__(self, gradients: list[torch.Tensor]):
        super().__init__()
        self.gradients = gradients
        self.weights = nn.ParameterList(torch.zeros_like(gradient) for gradient in gradients)

    def forward(self, _):
        return GivenGradients.apply(self.gradients, *self.weights)


def ddp(
    mine: list[torch.Tensor], exact: list[np.ndarray], register: Callable[[nn.Module], None]
) -> Side:
    model = nn.parallel.DistributedDataParallel(Model(mine))
    register(model)
    loss = None

    def prepare() -> None:
        nonlocal loss
        model.zero_grad()
        loss = model(torch.zeros(1))

    def exchange() -> None:
        loss.backward()

    def look() -> dict:
        for _ in range(STEPS_TO_LOOK):
            prepare()
            exchange()
        means = [parameter.grad for parameter in model.parameters()]
        return compare(means, [total / dist.get_world_size() for total in exact])

    return Side(look, exchange, prepare)


def powersgd_hook(rank: int) -> Callable[[nn.Module], None]:
    def register(model: nn.Module) -> None:
        state = powersgd.PowerSGDState(
            None, matrix_approximation_rank=rank, start_powerSGD_iter=FIRST_POWERSGD_STEP
        )
        model.register_comm_hook(state, powersgd.powerSGD_hook)

    return register


def compare(sums: list[torch.Tensor], exact: list[np.ndarray]) -> dict:
    flat, wanted = (
        np.concatenate([np.asarray(part.detach()).ravel() for part in parts])
        for parts in (sums, [torch.from_numpy(part) for part in exact])
    )
    error = np.linalg.norm(flat - wanted) / np.linalg.norm(wanted)
    return {"digest": hashlib.sha256(flat.tobytes()).hexdigest(), "error": float(error)}


if __name__ == "__main__":
    main()
