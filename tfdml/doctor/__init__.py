"""What is installed, what is there, and what would go wrong when a job starts.

A check is one module in `checks/` with

    def check(subject: Subject) -> Iterable[Finding]: ...

`finding.py` says what a finding is, `subject.py` what a check may look at, `order.py` which checks there
are, in which order and within which time, `report.py` how findings are shown. Nothing here imports
TensorFlow into the process of `tfdml doctor`: what needs TensorFlow happens in a child (`child.py`),
which may crash or hang without taking the report along. `preflight` is for programs that have
TensorFlow already, and looks at their model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdml.doctor.finding import Finding

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["Finding", "preflight"]


def preflight(
    model: keras.Model,
    strategy: tf.distribute.Strategy | None = None,
    global_batch_size: int | None = None,
    *,
    num_replicas: int | None = None,
) -> list[Finding]:
    """What would go wrong, or differ from one device, when `model` is trained; `model.py` has the arguments."""
    from tfdml.doctor import model as rules  # With TensorFlow and Keras.

    return rules.examine(model, strategy, global_batch_size, num_replicas=num_replicas)
