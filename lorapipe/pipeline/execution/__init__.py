"""Running a plan: the scheduler, attempts, workers and the launchers that say where they are."""
