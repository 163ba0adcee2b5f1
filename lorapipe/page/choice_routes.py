"""The page on which a person chooses pictures that a stage asks about, without HTTP: the response to each path.

(nothing), choice.css, choice.js    the page itself
question                            what is asked: the pictures by number, those that are proposed, a mistake
pictures/3                          the third picture
choose/1-4-7                        (POST) the answer: the numbers of the chosen pictures
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.page.answers import NOT_THERE, OURS, Answer, told
from lorapipe.page.routes import PICTURES

STATIC = Path(__file__).parent / "choice"
ICON = Path(__file__).parent / "static" / "icon.svg"


class ChoiceRoutes:
    """The routes of one question at a time; `ask` sets it. Only pictures that the question names can be read."""

    most_sent = 0

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._question: Path | None = None
        self._answer: Path | None = None
        self._static = {file.name: file for file in (*STATIC.iterdir(), ICON) if file.suffix in OURS}

    def ask(self, question: Path, answer: Path) -> None:
        """Show another question, whose answer is written to a file."""
        with self._guard:
            self._question, self._answer = question, answer

    def get(self, path: str, seen: str = "") -> Answer:
        """Answer a GET request. Raises `InputError` if a number names no picture."""
        match path.split("/"):
            case ["question"]:
                asked = self._asked()
                shown = [{name: each[name] for name in ("number", "prompt", "merit")} for each in asked["pictures"]]
                return told(
                    {**{key: asked.get(key) for key in ("count", "proposed", "mistake", "open")}, "pictures": shown}
                )
            case ["pictures", number]:
                file = Path(self._file(number))
                kind = PICTURES.get(file.suffix.lower())
                return Answer(file.read_bytes(), kind) if kind and file.is_file() else NOT_THERE
            case [name] if (static := self._static.get(name or "choice.html")) is not None:
                return Answer(static.read_bytes(), OURS[static.suffix])
        return NOT_THERE

    def post(self, path: str, sent: bytes = b"") -> Answer:
        """Write the answer. Raises `InputError` if it names no pictures, or nothing is asked."""
        match path.split("/"):
            case ["choose", numbers]:
                chosen = [each for each in numbers.split("-") if each]
                for each in chosen:
                    self._file(each)
                if not chosen:
                    raise InputError("no picture is chosen.", cure="Choose one at least.")
                with self._guard:
                    answer = self._answer
                assert answer is not None
                write_text(" ".join(chosen) + "\n", answer)
                return told({"chosen": len(chosen)})
        return NOT_THERE

    def _asked(self) -> dict[str, Any]:
        with self._guard:
            question, answer = self._question, self._answer
        if question is None or answer is None or not question.is_file():
            return {"pictures": [], "open": False}
        found: dict[str, Any] = json.loads(question.read_text(encoding="utf-8"))
        return {**found, "open": not answer.exists()}

    def _file(self, number: str) -> str:
        for each in self._asked()["pictures"]:
            if str(each["number"]) == number:
                return str(each["file"])
        raise InputError(f"there is no picture {number[:20]!r}.")
