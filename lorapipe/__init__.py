"""lorapipe: trains a LoRA on a folder of pictures, and measures that it works.

In Python: `lorapipe.load`, `lorapipe.plan`, `lorapipe.run` and `lorapipe.Run`, see `lorapipe.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.api import Pipeline, Plan, Run, load, plan, run

__version__ = "0.1.0"
__all__ = ["Pipeline", "Plan", "Run", "__version__", "load", "plan", "run"]


def __getattr__(name: str) -> object:
    """Return a name of `lorapipe.api`, which is imported on first use, so that `import lorapipe` is quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lorapipe import api

    return getattr(api, name)
