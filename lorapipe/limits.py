"""How much a document may hold and ask for, so that every one is answered in about a second and in little memory.

They are far above what a person or a program writes for a training, and docs/language.md lists them.
"""

from __future__ import annotations

MOST_BYTES = 1_000_000
"""Of a pipeline and all that it extends, together."""
MOST_LEVELS = 32
"""Of lists and mappings in one another, and of variables in variables."""
MOST_VALUES = 60_000
"""Of a document after aliases are expanded; and of all its stages after variables and matrices are."""
MOST_LETTERS = 10_000_000
"""Of the texts of these values, together."""
MOST_USES = 20_000
"""Of variables."""
MOST_CELLS = 1_000
"""Of a matrix; it has no more entries of `include` or `exclude` either."""
MOST_SETTINGS = 200
"""Of one cell: those that its matrix and an `include` give it."""
MOST_STAGES = 3_200
"""After matrices are written out."""
MOST_CONDITION = 1_000
"""Letters of a `when`."""
MOST_FILES = 16
"""That extend one another."""
MOST_PROBLEMS = 100
"""That are told at once; then the search ends."""
MOST_NAMES = 40
"""That a message lists."""
LONGEST_MESSAGE = 2_000
"""Letters of each part of a message."""
LARGEST_NUMBER = 2**63 - 1
