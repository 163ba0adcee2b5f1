"""Manifest, cache, batches, loss, weights: the training core. Everything here that touches a tensor is imported late."""
