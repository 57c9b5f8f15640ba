"""Input formats of the converter: one file a format, all with the contract in `input.py`. No TensorFlow."""
