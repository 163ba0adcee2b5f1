"""Tools for finished adapters and checkpoints: the numerics of `merge`, `extract` and `resize`.

They read and write tensor by tensor, in the memory of the largest one. Stages and commands import them inside functions.
"""
