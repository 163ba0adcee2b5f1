"""The library of the optimizers whose state is in 8 bits."""


def or_use(twin: str) -> str:
    """How to get it, or what to use where there is none."""
    return f"Install it with `pip install 'lorapipe[8bit]'`, or use {twin}, its 32-bit twin."
