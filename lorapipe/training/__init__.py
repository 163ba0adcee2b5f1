"""Manifest, cache, batches, loss, weights: the training core. Whatever touches a tensor is imported late."""
