"""A fake of `comfy.model_management`: interruption, and unloading of models."""

import threading

INTERRUPT = False
UNLOADED: list[int] = []
"""The threads that unloaded models."""


class InterruptProcessingException(Exception):
    pass


def throw_exception_if_processing_interrupted():
    global INTERRUPT
    if INTERRUPT:
        INTERRUPT = False
        raise InterruptProcessingException


def unload_all_models():
    UNLOADED.append(threading.get_ident())


def soft_empty_cache():
    pass
