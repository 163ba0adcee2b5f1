"""A fake of `comfy.model_management`: interruption, and unloading of models."""

INTERRUPT = False
UNLOADED: list[bool] = []


class InterruptProcessingException(Exception):
    pass


def throw_exception_if_processing_interrupted():
    global INTERRUPT
    if INTERRUPT:
        INTERRUPT = False
        raise InterruptProcessingException


def unload_all_models():
    UNLOADED.append(True)


def soft_empty_cache():
    pass
