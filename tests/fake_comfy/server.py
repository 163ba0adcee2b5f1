"""A fake of `server`: the text below a node."""

EVENTS: list[tuple[str, dict, str | None]] = []
TEXTS: list[tuple[str, str]] = []


class PromptServer:
    class instance:  # noqa: N801 (as it is called there)
        client_id = "tab"

        @staticmethod
        def send_sync(event, data, sid=None):
            EVENTS.append((event, data, sid))

        @staticmethod
        def send_progress_text(text, node_id, sid=None):
            TEXTS.append((node_id, text))
