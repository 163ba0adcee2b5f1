"""bitsandbytes, the library of optimizers with 8-bit state."""


def or_use(twin: str) -> str:
    """Say how to install bitsandbytes, or which 32-bit optimizer to use instead."""
    return f"Install it with `pip install 'lorapipe[8bit]'`, or use {twin}, the same in 32 bits."
