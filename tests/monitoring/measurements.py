"""Measurements as replicas would send them, made up: each part takes as long as it is told."""

from __future__ import annotations

import numpy as np

from tfdml.monitoring.measurement import FACTS, HEAD, HOST, ROW, Measurement

BEGIN = 1_700_000_000.0
GAP = 1e-5  # between parts: nobody's


def measurement(
    tasks,
    *,
    steps=4,
    communicating=2e-3,
    host=1e-3,
    offsets=None,
    clocks=None,
    facts=None,
    rates=None,
    exchanges=True,
):
    """Of one execution.

    Args:
        tasks: for each (seconds of input, of computing before the exchange, of the update) a step.
    """
    number = len(tasks)
    offsets = offsets or [0.0] * number
    stamps = np.zeros((number, steps, len(ROW)))
    now = np.full(number, BEGIN + host)
    graph_begin = now.copy()
    for step in range(steps):
        times = {}

        def lasts(seconds):
            nonlocal now
            begin = now.copy()
            now = now + seconds
            end = now.copy()
            now = now + GAP
            return begin, end

        inputs, before, after = (np.array([task[part] for task in tasks]) for part in range(3))
        times["input_begin"], times["input_end"] = lasts(inputs)
        times["compute_begin"], entry = lasts(before)
        if exchanges:
            now = np.full(number, entry.max() + communicating)
            times["entry"], times["exit"] = entry, now.copy()
            times["update_begin"], times["step_end"] = lasts(after)
        else:
            times["step_end"] = entry
        times["gradient_norm"] = np.full(number, 2.0 + step)
        for name, values in times.items():
            stamps[:, step, ROW.index(name)] = values
    read_entry = now.copy()
    read_exit = np.full(number, now.max() + communicating)
    head = dict(zip(HEAD, np.zeros((len(HEAD), number)), strict=True))
    head |= {"graph_begin": graph_begin, "read_entry": read_entry, "read_exit": read_exit}
    head["steps"] = np.full(number, float(steps))
    numbers = []
    for task in range(number):
        times = stamps[task].copy()
        times[:, : ROW.index("gradient_norm")] += offsets[task] * (
            times[:, : ROW.index("gradient_norm")] > 0
        )
        own = {"returned": BEGIN + offsets[task], "clock": float((clocks or [1] * number)[task])}
        own |= dict.fromkeys(FACTS, 0.0) | {"seconds": 1.0} | dict((facts or [{}] * number)[task])
        of_head = [
            head[name][task]
            + (offsets[task] if name in ("graph_begin", "read_entry", "read_exit") else 0)
            for name in HEAD
        ]
        link = np.zeros(number) if rates is None else np.asarray(rates)[task]
        numbers.append(np.concatenate([of_head, [own[name] for name in HOST], link, times.ravel()]))
    return Measurement(np.stack(numbers), number)
