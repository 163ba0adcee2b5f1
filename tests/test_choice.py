"""A stage that asks a person: the run waits without a device, survives a kill, and goes on with the answer."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from browsers import Browser, in_a_browser
from PIL import Image

import lorapipe
from lorapipe.atomic import write_text
from lorapipe.errors import InputError, Unanswered
from lorapipe.page.choice_page import ChoicePage
from lorapipe.page.choice_routes import ChoiceRoutes
from lorapipe.pipeline.artifacts import File
from lorapipe.pipeline.context import ANSWER, QUESTION, Context
from lorapipe.pipeline.events import Asked, Event, Finished, from_json, to_json


def context(tmp_path: Path) -> Context:
    for name in ("out", "resume", "cache"):
        (tmp_path / name).mkdir()
    return Context(tmp_path / "out", tmp_path / "resume", tmp_path / "cache", lambda event: None, lambda: False)


def test_a_question_waits_for_its_file_and_may_be_asked_again(tmp_path: Path) -> None:
    here = context(tmp_path)
    with pytest.raises(Unanswered) as found:
        here.answer("Which?", {"count": 1})
    assert found.value.answer == tmp_path / "resume" / ANSWER
    assert json.loads((tmp_path / "resume" / QUESTION).read_text("utf-8")) == {"count": 1}
    write_text("3\n", found.value.answer)
    assert here.answer("Which?", {}) == "3\n"
    here.refuse_answer()
    with pytest.raises(Unanswered):
        here.answer("Which?", {})


def test_the_event_is_a_line_of_json() -> None:
    event = Asked("grown", "Choose.", "/q", "/a")
    assert from_json(to_json(event)) == event


# ------------------------------------------------------------------------------------------------------- in a run


@pytest.fixture
def pipeline(toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = """\
stages:
  asked: {uses: question, what: Which?}
  other: {uses: question}
"""
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    return tmp_path / "p.yaml"


def answered(file: Path, words: str) -> list[Event]:
    """Run the pipeline, and answer when it asks and the stage that needs the device too has finished."""
    seen: list[Event] = []

    def look(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Asked):
            threading.Thread(target=write, args=(Path(event.answer),), daemon=True).start()

    def write(answer: Path) -> None:
        until = time.monotonic() + 60
        while not any(isinstance(each, Finished) and each.stage == "other" for each in seen):
            assert time.monotonic() < until
            time.sleep(0.05)
        write_text(words, answer)

    lorapipe.run(lorapipe.load(file), look)
    return seen


def test_the_device_is_free_while_a_stage_waits(pipeline: Path) -> None:
    seen = answered(pipeline, "yes")
    ends = [event.stage for event in seen if isinstance(event, Finished)]
    assert ends == ["other", "asked"]  # both need the one device, and the first waited for its answer


def test_an_answer_outlives_a_kill(pipeline: Path) -> None:
    stopped = False

    def look(event: Event) -> None:
        nonlocal stopped
        if isinstance(event, Asked):
            write_text("later", Path(event.answer))
            stopped = True

    for event in lorapipe.Run(lorapipe.load(pipeline), stopping=lambda: 2 if stopped else 0):
        look(event)
    made = lorapipe.run(lorapipe.load(pipeline))
    assert isinstance(made["asked"], File)
    assert made["asked"].path.read_text("utf-8") == "later"


# ------------------------------------------------------------------------------------------------------- the page


def test_the_page_shows_the_pictures_and_writes_the_answer(tmp_path: Path) -> None:
    routes = ChoiceRoutes()
    assert json.loads(routes.get("question").body)["open"] is False
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "secret.txt").write_text("no", "utf-8")
    pictures = [
        {"number": number, "file": str(tmp_path / name), "prompt": "cat", "merit": 0.5}
        for number, name in ((1, "a.png"), (2, "secret.txt"))
    ]
    write_text(json.dumps({"count": 1, "proposed": [1], "pictures": pictures}), tmp_path / QUESTION)
    routes.ask(tmp_path / QUESTION, tmp_path / ANSWER)
    asked = json.loads(routes.get("question").body)
    assert asked["open"] and asked["proposed"] == [1] and "file" not in asked["pictures"][0]
    assert routes.get("pictures/1").body == b"picture"
    assert routes.get("pictures/2").status == 404
    for path in ("", "choice.js", "choice.css"):
        assert routes.get(path).status == 200
    with pytest.raises(InputError):
        routes.get("pictures/3")
    for wrong in ("choose/3", "choose/", "choose/1-x"):
        with pytest.raises(InputError):
            routes.post(wrong)
    assert not (tmp_path / ANSWER).exists()
    assert routes.post("choose/1-2").status == 200
    assert (tmp_path / ANSWER).read_text("utf-8") == "1 2\n"
    assert json.loads(routes.get("question").body)["open"] is False


@in_a_browser
def test_a_person_chooses_in_a_browser_and_the_next_question_appears_by_itself(tmp_path: Path) -> None:
    def ask(count: int) -> Asked:
        folder = tmp_path / str(count)
        folder.mkdir()
        Image.new("RGB", (64, 64), "red").save(folder / "a.png")
        pictures = [
            {"number": number, "file": str(folder / "a.png"), "prompt": "<b>cat</b>", "merit": 0.5}
            for number in range(1, count + 1)
        ]
        write_text(json.dumps({"count": 2, "proposed": [1], "pictures": pictures}), folder / QUESTION)
        return Asked("grown", "Choose.", str(folder / QUESTION), str(folder / ANSWER))

    browser = Browser()
    try:
        with ChoicePage(tmp_path) as page:
            first, second = ask(3), ask(5)
            browser.do(f"await page.goto({page.show(first)!r}); await page.waitForSelector('main img');")
            assert browser.do(
                "return [...await page.$$eval('input:checked', each => each.map(box => box.value))];"
            ) == ["1"]
            browser.do("await page.click('label:nth-child(3)'); await page.click('#send');")
            browser.do("await page.waitForFunction(() => !document.querySelector('main img'));")
            assert Path(first.answer).read_text("utf-8") == "1 3\n"
            page.show(second)
            browser.do("await page.waitForSelector('label:nth-child(5)');")
            assert browser.do("return [complaints, await page.$('main b') === null];") == [[], True]
    finally:
        browser.close()


def test_both_languages_have_every_text() -> None:
    import re

    script = (Path(lorapipe.__file__).parent / "page" / "choice" / "choice.js").read_text("utf-8")
    english, korean = re.findall(r"  (?:en|ko): \{\n(.*?)\n  \},", script, re.DOTALL)
    keys = [re.findall(r"^    (\w+):", each, re.MULTILINE) for each in (english, korean)]
    assert keys[0] == keys[1] and len(keys[0]) > 5
