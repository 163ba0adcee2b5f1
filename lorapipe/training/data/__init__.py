"""From a folder to batches: manifest, captions, buckets, cache."""
