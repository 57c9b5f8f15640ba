"""Models for processes without tfdml: a .keras file and a SavedModel, which answer as the trained model does.

`directory.py` and `weights.py` import TensorFlow only inside functions.
"""

from tfdml.export.endpoint import Endpoint
from tfdml.export.model import export_model
from tfdml.export.plain import plain

__all__ = ["Endpoint", "export_model", "plain"]
