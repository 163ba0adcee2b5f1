"""A fake of `server`: the text below a node."""

TEXTS: list[tuple[str, str]] = []


class PromptServer:
    class instance:  # noqa: N801 (as it is called there)
        @staticmethod
        def send_progress_text(text, node_id, sid=None):
            TEXTS.append((node_id, text))
