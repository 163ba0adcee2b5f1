"""Execution of a plan: runner → scheduler → attempts on the slots of a worker pool, which a launcher provides."""
