"""Rounds of a pipeline with changed settings: tuning by the verdict, and successive halving of a matrix. No torch.

    search      the rounds so far → the next change, or the end: a pure function
    judgement   what a round's reports say, as the search needs it
    knobs       settings of a stage by dotted names: read, changed, kept within their limits
    tuner       runs the rounds, as one stream of events
    tuned       the files at the end: the pipeline to keep, and the page
    halving     successive halving: which cells of a matrix train on

A round is the same pipeline with other settings, run by the same engine. So its results are found again by their content
keys, and nothing else is stored: a tuning that was killed runs its rounds again, which costs nothing, and goes on.
"""
