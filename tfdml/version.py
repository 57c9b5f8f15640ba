"""The version of tfdml, in a module of its own so that the build backend reads it without importing TensorFlow."""

__version__ = "0.1.0"
