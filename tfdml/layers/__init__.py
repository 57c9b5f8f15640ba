"""Keras layers that are right and fast when training is distributed."""

from tfdml.layers.sharded_embedding import ShardedEmbedding

__all__ = ["ShardedEmbedding"]
