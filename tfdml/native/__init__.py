"""Gradient codecs as TensorFlow ops in C++: their sources, how they are built, and how they are loaded.

`loader.ops()` is the way in. `kernels/` is plain C++ without TensorFlow, `ops_*.cc` wraps it into ops,
`compiler.py`, `build.py` and `store.py` make and keep the library. `reference*.py` say the same in TF ops.
"""
