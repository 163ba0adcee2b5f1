"""Limits on the size of documents, so that each is checked in about a second and with little memory.

They are far above any real training, and docs/language.md lists them.
"""

from __future__ import annotations

MOST_BYTES = 1_000_000
"""Bytes of a pipeline and all files that it extends."""
MOST_LEVELS = 32
"""Nesting of lists and mappings, and of variables in variables."""
MOST_VALUES = 60_000
"""Values of a document after its aliases are expanded, and of all stages after variables and matrices are."""
MOST_LETTERS = 10_000_000
"""Characters of the texts of these values in all."""
MOST_USES = 20_000
"""Uses of variables."""
MOST_CELLS = 1_000
"""Cells of a matrix; also the most entries of `include` and of `exclude`."""
MOST_SETTINGS = 200
"""Settings of one cell, from its matrix and an `include`."""
MOST_STAGES = 3_200
"""Stages after matrices are expanded."""
MOST_CONDITION = 1_000
"""Characters of a `when`."""
MOST_FILES = 16
"""Files that extend one another."""
MOST_PROBLEMS = 100
"""Problems that are reported at once; then the search ends."""
MOST_NAMES = 40
"""Names that a message lists."""
LONGEST_MESSAGE = 2_000
"""Characters of each part of a message."""
LARGEST_NUMBER = 2**63 - 1
