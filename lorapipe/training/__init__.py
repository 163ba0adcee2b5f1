"""The training core: manifest, cache, batches, loss, weights. Modules that need torch are imported late."""
