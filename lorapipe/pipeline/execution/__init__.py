"""Running a plan: runner → scheduler → attempts on the slots of a pool, whose workers a launcher starts somewhere."""
