"""Labelled images for the recipes: the bundled digits, TFDS, directories of shards."""
