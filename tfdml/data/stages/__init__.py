"""Preprocessing of rows, feature by feature: one file a kind, all with the contract in `stage.py`. No TensorFlow."""
