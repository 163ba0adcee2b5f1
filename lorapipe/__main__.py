"""The entry point of `python -m lorapipe`."""

import sys

from lorapipe.cli import main

sys.exit(main())
