"""A native op where there is one, else the same in TensorFlow's own ops: chosen when a graph is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import tensorflow as tf

from tfdml.native import loader

P = ParamSpec("P")
R = TypeVar("R")


def or_reference(
    reference: Callable[P, R],
) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[P, R]]:
    """Makes a function of `native`, which gets the module of native ops and then the arguments of `reference`.

    Where there are no native ops, `reference` is called. The parameters and the docstring are its.
    """

    def decorate(native: Callable[Concatenate[Any, P], R]) -> Callable[P, R]:
        @functools.wraps(reference)
        def choose(*args: P.args, **kwargs: P.kwargs) -> R:
            ops = loader.ops()
            return reference(*args, **kwargs) if ops is None else native(ops, *args, **kwargs)

        # There is no control flow for AutoGraph to convert, and the loader, which may be called here for the first
        # time, is nothing for it.
        return tf.autograph.experimental.do_not_convert(choose)

    return decorate
