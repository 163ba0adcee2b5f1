"""A fake of `comfy_execution.graph_utils`: a value that keeps nodes after it from running."""


class ExecutionBlocker:
    def __init__(self, message):
        self.message = message
