"""A fake of `server`: events to pages. TEXTS are those that nodes show, with the node's id."""

EVENTS: list[tuple[str, dict, str | None]] = []
TEXTS: list[tuple[str, str]] = []


class PromptServer:
    class instance:  # noqa: N801 (as it is called there)
        client_id = "tab"

        @staticmethod
        def send_sync(event, data, sid=None):
            EVENTS.append((event, data, sid))
            TEXTS.extend((data["node"], text) for text in data["output"].get("text", ()))
