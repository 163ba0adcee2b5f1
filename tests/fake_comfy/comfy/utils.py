"""A fake of `comfy.utils`: the progress bar, which also checks for an interruption."""

from comfy.model_management import throw_exception_if_processing_interrupted

SHOWN: list[tuple] = []


class ProgressBar:
    def __init__(self, total, node_id=None):
        self.total, self.current, self.node_id = total, 0, node_id

    def update_absolute(self, value, total=None, preview=None):
        throw_exception_if_processing_interrupted()
        self.current, self.total = value, total or self.total
        SHOWN.append((self.node_id, value, self.total, preview))
