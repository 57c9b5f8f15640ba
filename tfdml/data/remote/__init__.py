"""Shards behind URLs: fetched ahead into a cache that the processes of a host share. No TensorFlow at import."""
