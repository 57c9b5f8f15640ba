"""Native ops where there are any, else the reference."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfdml.native import loader
from tfdml.native.choice import or_reference


def reference(x: tf.Tensor, *, y: int) -> str:
    """What it computes."""
    return f"reference {x}, {y}"


@or_reference(reference)
def native(ops: str, x: tf.Tensor, *, y: int) -> str:
    return f"{ops} {x}, {y}"


def test_chosen_at_every_call(monkeypatch):
    monkeypatch.setattr(loader, "ops", lambda: "native")
    assert native(1, y=2) == "native 1, 2"
    monkeypatch.setattr(loader, "ops", lambda: None)
    assert native(1, y=2) == "reference 1, 2"
    assert native.__doc__ == "What it computes."


def test_autograph_converts_neither_them_nor_the_loader(monkeypatch):
    """It would warn of what it cannot convert, and takes seconds for the rest."""

    def with_control_flow(x: tf.Tensor) -> int:
        return 1 if x > 0 else 2

    monkeypatch.setattr(loader, "ops", lambda: None)
    function = or_reference(with_control_flow)(lambda ops, x: 3)
    assert function(tf.constant(1)) == 1
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        tf.function(lambda x: function(x))(tf.constant(1))
    assert tf.function(with_control_flow)(tf.constant(1)) == 1
