"""The tag editor: what it writes and never writes, what it answers, and what a user does with it in a browser.

Browser tests run if CHROMIUM and PLAYWRIGHT name a browser and its driver; CONTRIBUTING says how to install them.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browsers import Browser, in_a_browser, json_at, page_of_command, without_complaints
from PIL import Image, ImageDraw

from lorapipe.caption_analysis.settings import TagSettings
from lorapipe.errors import InputError
from lorapipe.page.server import Page
from lorapipe.tag_editor.caption_writer import WantedCaption, save
from lorapipe.tag_editor.edited_folder import EditedCaption, EditedFolder
from lorapipe.tag_editor.picture_scan import PictureScan
from lorapipe.tag_editor.routes import STATIC, EditorRoutes
from lorapipe.tag_editor.thumbnails import DAYS, delete_old_thumbnails, thumbnail
from lorapipe.training.data.image_folder import look_through

NASTY = "<script>document.title='taken'</script>\"'고양이 🐈"
CAPTIONS = {
    "a.png": "penny, red hat, smile",
    "b.png": "penny, red hat",
    "c.png": "penny, blue hat, grin",
    "d.png": f"penny, {NASTY}",
    "e.png": "",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for place, (name, text) in enumerate(CAPTIONS.items()):
        picture = Image.new("RGB", (120, 160 - 20 * place), (60 * place, 90, 200 - 40 * place))
        ImageDraw.Draw(picture).ellipse((10, 10, 30 + 20 * place, 60), fill=(250, 240 - 50 * place, 60))
        picture.save(root / name)
        if text:
            (root / name).with_suffix(".txt").write_text(text, encoding="utf-8")
    return root


def opened(root: Path) -> EditedFolder:
    return EditedFolder(root, look_through(root))


def wanted(folder: EditedFolder, **texts: str) -> dict[str, WantedCaption]:
    now = folder.captions()
    return {f"{name}.txt": WantedCaption(text, now[f"{name}.txt"].version) for name, text in texts.items()}


def bytes_in(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


# --------------------------------------------------------------------------------------------------------------- saving


def test_only_changed_captions_are_written_and_the_first_text_is_kept_once(photos: Path) -> None:
    folder, before = opened(photos), bytes_in(photos)
    result = save(folder, wanted(folder, a="penny", e="penny, new"), keep_encoding=False, overwrite=False)
    assert {*result.saved} == {"a.txt", "e.txt"} and not result.failed and not result.conflicts
    save(folder, wanted(folder, a="penny, twice"), keep_encoding=False, overwrite=False)
    after = bytes_in(photos)
    assert after == {
        **before, "a.txt": b"penny, twice\n", "a.txt.bak": before["a.txt"], "e.txt": b"penny, new\n"
    }  # fmt: skip
    assert result.saved["e.txt"] == opened(photos).captions()["e.txt"].version


def test_what_another_program_has_changed_is_not_written_over(photos: Path) -> None:
    folder = opened(photos)
    mine = wanted(folder, a="mine", b="mine", e="mine")
    (photos / "a.txt").write_text("theirs")
    (photos / "e.txt").write_text("theirs, new")
    before = bytes_in(photos)
    result = save(folder, mine, keep_encoding=False, overwrite=False)
    assert bytes_in(photos) == before and not result.saved
    assert {file: each.text for file, each in result.conflicts.items()} == {"a.txt": "theirs", "e.txt": "theirs, new"}
    result = save(folder, mine, keep_encoding=False, overwrite=True)
    assert {*result.saved} == {"a.txt", "b.txt", "e.txt"} and (photos / "a.txt").read_text() == "mine\n"
    assert (photos / "a.txt.bak").read_text() == "theirs"


def test_a_caption_that_was_deleted_meanwhile_is_a_conflict(photos: Path) -> None:
    folder = opened(photos)
    mine = wanted(folder, a="mine")
    (photos / "a.txt").unlink()
    assert save(folder, mine, keep_encoding=False, overwrite=False).conflicts["a.txt"] == EditedCaption("", "")
    assert not (photos / "a.txt").exists()


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig"])
def test_other_encodings_are_told_and_kept_or_converted(photos: Path, encoding: str) -> None:
    text = "페니, 빨간 모자, 웃는 얼굴, 바닷가"
    for name in "abcd":
        (photos / f"{name}.txt").write_bytes(text.encode(encoding))
    folder = opened(photos)
    assert {each.encoding for file, each in folder.captions().items() if file != "e.txt"} == {encoding}
    assert folder.captions()["a.txt"].text == text
    save(folder, wanted(folder, a="페니, 모자"), keep_encoding=True, overwrite=False)
    assert (photos / "a.txt").read_bytes().decode(encoding) == "페니, 모자\n"
    save(folder, wanted(folder, b="페니, 모자"), keep_encoding=False, overwrite=False)
    assert (photos / "b.txt").read_bytes() == "페니, 모자\n".encode()
    save(folder, wanted(folder, c="페니 🐈"), keep_encoding=True, overwrite=False)  # cp949 has no cats
    assert (photos / "c.txt").read_bytes().decode(encoding if encoding != "cp949" else "utf-8") == "페니 🐈\n"
    assert (photos / "c.txt.bak").read_bytes() == text.encode(encoding)


def test_lines_are_captions_and_stay_lines(photos: Path) -> None:
    (photos / "a.txt").write_text("penny, a\r\n\r\npenny, b\r\n")
    folder = opened(photos)
    assert folder.captions()["a.txt"].text == "penny, a\npenny, b"
    save(folder, wanted(folder, a="penny, a\npenny, c"), keep_encoding=False, overwrite=False)
    assert (photos / "a.txt").read_text() == "penny, a\npenny, c\n"


def test_two_pictures_share_a_caption(photos: Path) -> None:
    Image.new("RGB", (64, 64)).save(photos / "a.jpg")
    folder = opened(photos)
    assert folder.file_of["a.jpg"] == folder.file_of["a.png"] == "a.txt"
    Image.new("RGB", (64, 64)).save(photos / "e.jpg")
    folder = opened(photos)
    assert folder.file_of["e.jpg"] != folder.file_of["e.png"]  # neither has one: each gets its own


def test_nothing_outside_the_folder_is_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (photos / "e.txt").symlink_to(tmp_path / "secret.txt")
    folder = opened(photos)
    for file in ("../secret.txt", "/etc/passwd", "a.png", "a.txt.bak", "sub/../a.txt", ""):
        with pytest.raises(InputError):
            save(folder, {file: WantedCaption("x", "")}, keep_encoding=False, overwrite=True)
    with pytest.raises(InputError, match="out of the folder"):
        save(folder, {"e.txt": WantedCaption("x", "")}, keep_encoding=False, overwrite=True)
    assert (tmp_path / "secret.txt").read_text() == "secret"


def test_a_file_that_cannot_be_written_is_told_and_the_others_are_saved(photos: Path) -> None:
    folder = opened(photos)
    mine = wanted(folder, a="mine", b="mine")
    (photos / "a.txt").unlink()
    (photos / "a.txt").mkdir()
    result = save(folder, mine, keep_encoding=False, overwrite=True)
    assert {*result.failed} == {"a.txt"} and {*result.saved} == {"b.txt"} and "folder" in result.failed["a.txt"]


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(photos: Path) -> None:
    photos.chmod(0o555)
    try:
        folder = opened(photos)
        assert not folder.is_writable
        assert {*save(folder, wanted(folder, a="x"), keep_encoding=False, overwrite=False).failed} == {"a.txt"}
    finally:
        photos.chmod(0o755)


def test_permissions_of_a_caption_stay(photos: Path) -> None:
    (photos / "a.txt").chmod(0o640)
    folder = opened(photos)
    save(folder, wanted(folder, a="mine"), keep_encoding=False, overwrite=False)
    assert (photos / "a.txt").stat().st_mode & 0o777 == 0o640


KILLED = """
import os, shutil, sys
from pathlib import Path
from test_tag_editor import opened, wanted
from lorapipe.tag_editor.caption_writer import save

photos, out = map(Path, sys.argv[1:])

def die_at(left):
    def look(event, about):
        nonlocal left
        writes = event == "open" and about[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.chmod", "os.truncate"):
            left -= 1
            if not left:
                os._exit(9)
    sys.addaudithook(look)

for point in range(1, 100):
    root = out / f"{point:03}"
    shutil.copytree(photos, root)
    if (child := os.fork()) == 0:
        folder = opened(root)
        mine = wanted(folder, a="new a", b="new b", e="new e")
        die_at(point)
        save(folder, mine, keep_encoding=False, overwrite=False)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_save_that_is_killed_before_any_write_leaves_old_or_new_files(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    out.mkdir()
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    subprocess.run([sys.executable, "-c", KILLED, str(photos), str(out)], env=environment, check=True)
    before, points = bytes_in(photos), sorted(out.iterdir())
    new = {"a.txt": b"new a\n", "b.txt": b"new b\n", "e.txt": b"new e\n"}
    assert len(points) > 10
    for root in points:
        after = bytes_in(root)
        for name in {*before, *new}:
            assert after.get(name) in (before.get(name), new.get(name, before.get(name))), (root.name, name)
        for name in {*before} & {*new}:
            assert after[name] == before[name] or after[f"{name}.bak"] == before[name], (root.name, name)
    assert {name: after[name] for name in new} == new


# --------------------------------------------------------------------------------------------------------- what is answered


@pytest.fixture
def editor(photos: Path, tmp_path: Path) -> Iterator[Page]:
    folder = opened(photos)
    scan = PictureScan(folder, 512)
    (tmp_path / "home").mkdir()
    (tmp_path / "tagged").mkdir()
    (tmp_path / "tagged" / "b.txt").write_text("penny, red hat, sunglasses")
    with Page(EditorRoutes(folder, scan, TagSettings(tagged=tmp_path / "tagged")), tmp_path / "home", 0) as page:
        yield page
        scan.close()


class Asked:
    """One request and its response; with `sent`, a POST of the page itself."""

    def __init__(self, page: Page, path: str, sent: object = None, **headers: str) -> None:
        where = urlsplit(page.address)
        body = None if sent is None else sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        own = {"Host": where.netloc} | ({"Origin": f"http://{where.netloc}"} if body is not None else {})
        connection = http.client.HTTPConnection(where.netloc, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", where.path + path, body, {**own, **given})
        answer = connection.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        connection.close()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def mark(page: Page) -> str:
    return str(Asked(page, "dataset").json["folder"])


def test_the_dataset_has_every_picture_and_caption(editor: Page) -> None:
    data = Asked(editor, "dataset").json
    assert [name for name, _, _ in data["pictures"]] == [*CAPTIONS]
    assert {file: each["text"] for file, each in data["captions"].items()} == {
        name.replace("png", "txt"): text for name, text in CAPTIONS.items()
    }
    assert data["captions"]["e.txt"]["version"] == "" and data["writable"]


def test_captions_of_files_are_read_as_they_are_now(editor: Page, photos: Path) -> None:
    (photos / "a.txt").write_text("penny, new")
    data = Asked(editor, "captions", {"folder": mark(editor), "files": ["a.txt", "e.txt"]}).json
    assert [each["text"] for each in data.values()] == ["penny, new", ""]
    assert data == {file: Asked(editor, "dataset").json["captions"][file] for file in ("a.txt", "e.txt")}


def test_thumbnails_are_made_once_and_outlive_the_server(editor: Page, tmp_path: Path) -> None:
    first = Asked(editor, "thumbs/0/1")
    assert first.headers["Content-Type"] == "image/jpeg" and "immutable" in first.headers["Cache-Control"]
    (kept,) = [*(tmp_path / "cache").rglob("*.jpg")]
    assert kept.read_bytes() == first.body
    kept.write_bytes(b"from the cache")
    assert Asked(editor, "thumbs/0").body == b"from the cache"


def test_old_thumbnails_are_deleted(photos: Path, tmp_path: Path) -> None:
    thumbnail(photos, "a.png")
    (old,) = [*(tmp_path / "cache").rglob("*.jpg")]
    os.utime(old, times=(0, time.time() - (DAYS + 1) * 24 * 3600))
    thumbnail(photos, "b.png")
    delete_old_thumbnails()
    (kept,) = [*(tmp_path / "cache").rglob("*.jpg")]
    assert kept != old
    assert thumbnail(photos, "a.png") == old.read_bytes()


def test_a_picture_is_named_by_its_number_alone(editor: Page, photos: Path, tmp_path: Path) -> None:
    for path in (
        "thumbs/../a.txt",
        "thumbs/99",
        "thumbs/-1",
        "views/a.png",
        "thumbs/%D9%A3",
        "../photos/a.png",
        "a.txt",
    ):
        assert Asked(editor, path).status == 404, path
    Image.new("RGB", (64, 64)).save(tmp_path / "outside.png")
    (photos / "b.png").unlink()
    (photos / "b.png").symlink_to(tmp_path / "outside.png")
    assert Asked(editor, "thumbs/1").status == 404 and "out of the folder" in Asked(editor, "thumbs/1").json["error"]


def test_a_picture_that_cannot_be_read_is_told(editor: Page, photos: Path) -> None:
    (photos / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert "cannot be shown" in Asked(editor, "thumbs/2").json["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_nothing_is_saved_for_another_page(editor: Page, photos: Path, origin: str) -> None:
    before = bytes_in(photos)
    sent = {"folder": mark(editor), "captions": {"a.txt": "x"}, "versions": {}, "overwrite": True}
    assert Asked(editor, "save", sent, Origin=origin).status == 403
    assert Asked(editor, "save", sent, Host="evil.example").status == 403
    assert Asked(editor, "save", {**sent, "folder": "another"}).status == 409
    assert bytes_in(photos) == before


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"nothing", b"[]", b"{", b"[" * 100_000,
        {"captions": []}, {"captions": {"a.txt": 1}}, {"captions": {"../a.txt": "x"}}, {"captions": {"a.png": "x"}},
        {"captions": {"a.txt": "x" * 300_000}, "overwrite": True},
    ],
    ids=lambda each: str(each)[:30],
)  # fmt: skip
def test_bad_requests_are_refused_in_words(editor: Page, photos: Path, sent: object) -> None:
    before = bytes_in(photos)
    answer = Asked(editor, "save", {"folder": mark(editor), **sent} if isinstance(sent, dict) else sent)
    assert answer.status == 409 and answer.json["error"]
    assert bytes_in(photos) == before


def test_too_large_a_body_is_not_read(editor: Page) -> None:
    where = urlsplit(editor.address)
    for lengths in (["999999999999"], ["-1"], ["1", "2"], ["many"]):
        connection = http.client.HTTPConnection(where.netloc, timeout=10)
        connection.putrequest("POST", f"{where.path}save")
        connection.putheader("Origin", f"http://{where.netloc}")
        for length in lengths:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()


def test_edits_are_those_of_pipelines_and_write_nothing(editor: Page, photos: Path) -> None:
    before = bytes_in(photos)
    captions = {"a.txt": "penny, red hat, smile", "b.txt": "penny"}
    edits = [{"type": "replace", "tags": {"red hat": "cap"}}, {"type": "add", "tags": ["new"], "at": "start"}]
    found = Asked(editor, "edits", {"folder": mark(editor), "captions": captions, "edits": edits}).json
    assert found["captions"] == {"a.txt": "new, penny, cap, smile", "b.txt": "new, penny"}
    for bad in (
        [{"type": "blacklist", "file": "/etc/passwd"}],
        [{"type": "gone"}],
        [{"type": "regex", "pattern": "("}],
        "x",
    ):
        answer = Asked(editor, "edits", {"folder": mark(editor), "captions": captions, "edits": bad})
        assert answer.status == 409 and answer.json["error"]
    assert bytes_in(photos) == before


def test_copies_and_sizes_are_told_when_they_are_known(editor: Page, photos: Path) -> None:
    import time

    until = time.monotonic() + 30
    while not (found := Asked(editor, "pictures").json)["ready"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert found["sizes"][:2] == [[120, 160], [120, 140]] and found["buckets"][0] == "448x576"
    near = Asked(editor, "similar/0").json
    assert sorted(near) == [1, 2, 3, 4]


def test_the_analysis_is_that_of_the_captions_as_they_are_edited(editor: Page) -> None:
    sent: dict[str, object] = {
        "folder": mark(editor),
        "captions": {"a.txt": "luna, x", "b.txt": "x"},
        "trigger": "luna",
    }
    found = Asked(editor, "analysis", sent).json
    assert found["lacking"] == ["b.png"] and found["tags"] == {"x": 2, "luna": 1}


def test_what_is_sent_may_load_nothing_from_elsewhere() -> None:
    text = "".join(file.read_text("utf-8") for file in STATIC.iterdir())
    assert "innerHTML" not in text and " style=" not in text and ' onclick="' not in text
    assert "://" not in text


def test_every_text_is_in_korean() -> None:
    table = json.loads((STATIC / "ko.json").read_text("utf-8"))
    code = {file.name: file.read_text("utf-8") for file in STATIC.glob("*.js")}
    texts = {
        json.loads(f'"{each}"') for text in code.values() for each in re.findall(r'\bt\("((?:[^"\\]|\\.)*)"', text)
    }
    page = (STATIC / "editor.html").read_text("utf-8")
    texts |= {*re.findall(r'data-t="([^"]*)"', page)}
    for tag in re.findall(r"<[^>]*data-t-[^>]*>", page):
        texts |= {*re.findall(r'(?<!-)(?:placeholder|aria-label)="([^"]*)"', tag)}
    texts |= {*re.findall(r'label: "([^"]*)"', code["edits.js"]), *re.findall(r', "([^"]*)"\]', code["editor.js"])}
    assert len(texts) > 120 and not {text for text in texts if text not in table and text != "change"}
    for english, korean in table.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", korean)), english


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C as Unix sends it")
def test_the_command_serves_the_editor_and_stops(photos: Path, tmp_path: Path) -> None:
    with page_of_command(tmp_path, "tags", str(photos), "--ui") as where:
        _, dataset = json_at(where, "dataset")
        assert len(dataset["pictures"]) == len(CAPTIONS)


# ------------------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture
def user(browser: Browser, editor: Page) -> Iterator[Browser]:
    """A browser at the editor; at the end it leaves the page, unsaved changes or not."""
    with without_complaints(browser, editor):
        browser.open(editor)
        browser.do("await page.locator('.cell').first().waitFor();")
        yield browser
        browser.do("page.removeAllListeners('dialog'); page.once('dialog', (dialog) => dialog.accept());")


def apply(user: Browser) -> None:
    """Accept a preview."""
    user.do("await page.locator('dialog button[value=yes]').click();")
    user.do("await page.locator('dialog[open]').waitFor({state: 'detached'});")


def shown(user: Browser) -> list[str]:
    cells = "[...document.querySelectorAll('.cell')].map(c => [c.ariaPosInSet, c.ariaLabel.split(':')[0]])"
    return [name for _, name in sorted(user.has(cells), key=lambda each: int(each[0]))]


@in_a_browser
def test_pictures_are_filtered_by_tags_and_text(user: Browser) -> None:
    assert shown(user) == [*CAPTIONS]
    user.do("await page.locator('#tags .row', {hasText: 'red hat'}).click();")
    assert shown(user) == ["a.png", "b.png"]
    user.do("await page.locator('#tags .row', {hasText: 'smile'}).click({modifiers: ['Alt']});")
    assert shown(user) == ["b.png"]
    user.do("await page.locator('#clear').click();")
    user.do("await page.locator('#tags .row', {hasText: 'red hat'}).click();")
    user.do("await page.locator('#clear').click();")
    assert shown(user) == [*CAPTIONS]
    for tag in ("smile", "grin"):
        user.do("await page.selectOption('#any', 'any');")
        user.do(
            f"await page.fill('#tagsearch', {tag!r}); await page.locator('#tags .row', {{hasText: {tag!r}}}).click();"
        )
        user.do("await page.fill('#tagsearch', '');")
    assert shown(user) == ["a.png", "c.png"]
    user.do("await page.locator('#clear').click(); await page.fill('#search', 'h.t, (smile|grin)');")
    assert shown(user) == []
    user.do("await page.check('#pattern');")
    assert shown(user) == ["a.png", "c.png"]
    user.do("await page.fill('#search', '('); await page.fill('#search', '');")
    user.do("await page.selectOption('#kind', 'empty');")
    assert shown(user) == ["e.png"]


@in_a_browser
def test_a_batch_edit_is_previewed_undone_redone_and_saved(user: Browser, photos: Path) -> None:
    before = bytes_in(photos)
    user.press("b")
    user.do("await page.fill('[name=pattern]', 'hat'); await page.fill('[name=replacement]', 'cap');")
    user.do("await page.locator('#batch button[type=submit]').click();")
    user.sees("3 captions change.", "red cap", where="dialog")
    apply(user)
    user.sees("3 changed", where="#summary")
    assert bytes_in(photos) == before
    user.do("await page.locator('#gallery').focus();")
    user.press("Control+z")
    assert "changed" not in user.has("document.querySelector('#summary').textContent")
    user.press("Control+Shift+z")
    user.sees("3 changed", where="#summary")
    user.press("Control+s")
    user.sees("3 caption files are written", where="dialog")
    assert bytes_in(photos) == before
    apply(user)
    user.sees("3 caption files are saved.", where="#said")
    assert (photos / "c.txt").read_text() == "penny, blue cap, grin\n"
    assert (photos / "c.txt.bak").read_bytes() == before["c.txt"]
    user.do("await page.locator('#gallery').focus();")
    user.press("Control+z")  # the history goes on after a save
    user.sees("3 changed", where="#summary")


@in_a_browser
def test_a_caption_is_edited_with_the_keyboard_alone(user: Browser, photos: Path) -> None:
    user.press("ArrowRight", "a")
    user.do("await page.keyboard.type('umbrella, sky');")
    user.press("Enter", "Escape")
    user.sees("1 changed", where="#summary")
    caption = "document.querySelector('#text').value"
    assert user.has(caption) == "penny, red hat, umbrella, sky"
    user.press("g", "ArrowRight", "Alt+ArrowLeft")
    assert user.has(caption) == "red hat, penny, umbrella, sky"
    user.press("ArrowRight", "ArrowRight", "Delete")
    assert user.has(caption) == "red hat, penny, sky"
    user.press("Enter")
    user.do("await page.keyboard.type('night sky');")
    user.press("Enter")
    assert user.has(caption) == "red hat, penny, night sky"
    user.do("await page.locator('#gallery').focus();")
    user.press("Enter", "Control+a")
    user.do("await page.keyboard.type('penny, typed');")
    user.press("Control+Enter", "Control+z", "Control+z", "Control+Shift+z")
    assert user.has(caption) == "red hat, penny, night sky"
    user.press("Control+s", "Enter")
    user.sees("1 caption files are saved.", where="#said")
    assert (photos / "b.txt").read_text() == "red hat, penny, night sky\n"


@in_a_browser
def test_several_pictures_are_edited_at_once(user: Browser) -> None:
    user.press("Shift+ArrowRight", "Shift+ArrowRight")
    user.sees("3 selected", where="#caption")
    chips = "[...document.querySelectorAll('#caption [data-place]')].map(each => each.textContent)"
    assert user.has(chips) == ["penny"]
    user.press("a")
    user.do("await page.keyboard.type('outdoors');")
    user.press("Enter")
    user.sees("3 captions change.", where="dialog")
    apply(user)
    assert user.has(chips) == ["penny", "outdoors"]
    user.press("Escape", "Control+a")
    user.sees("5 selected", where="#caption")
    user.press("Escape")
    user.do("await page.locator('#text').waitFor();")


@in_a_browser
@pytest.mark.parametrize("keys", [("a",), ("g", "Enter")], ids=["a new tag", "a tag's new name"])
def test_what_is_being_typed_outlasts_news_of_the_pictures(user: Browser, keys: tuple[str, ...]) -> None:
    fetch = "const { fetch } = window; window.fetch = async (path, ...more) => {"
    held = "if (path === 'pictures') await held; return fetch(path, ...more); };"
    hold = "if (window.name !== 'hold' || window.go) return; const held = new Promise((go) => (window.go = go));"
    user.do(f"await page.addInitScript(() => {{ {hold} {fetch} {held} }});")
    user.do("await page.evaluate(() => (window.name = 'hold')); await page.reload();")
    user.do("await page.locator('.cell').first().waitFor(); await page.evaluate(() => (window.name = ''));")
    user.press(*keys)
    user.do("await page.keyboard.type('out');")
    user.do("await page.evaluate(() => window.go());")
    user.do("await page.waitForFunction(() => document.querySelector('#bucket').options.length > 1);")
    user.do("await page.keyboard.type('doors');")
    assert user.has("document.activeElement.value") == "outdoors"


@in_a_browser
def test_hostile_captions_are_texts(user: Browser) -> None:
    user.do("await page.locator('.cell').nth(3).click();")
    assert user.has("document.querySelector('#text').value") == CAPTIONS["d.png"]
    assert "taken" not in user.has("document.title") and not user.has("document.querySelectorAll('main script').length")


@in_a_browser
def test_another_programs_changes_are_asked_for(user: Browser, photos: Path) -> None:
    for text in ("mine 1", "mine 2"):
        user.do(f"await page.fill('#text', {text!r});")
        user.press("Control+Enter")
        (photos / "a.txt").write_text(f"theirs, against {text}")
        user.press("Control+s", "Enter")
        user.sees("Changed by another program", "theirs", where="dialog")
        assert (photos / "a.txt").read_text().startswith("theirs")
        choice = "theirs" if text == "mine 1" else "mine"
        user.do(f"await page.locator('dialog button[value={choice}]').click();")
        if choice == "theirs":
            user.do("await page.waitForFunction(() => document.querySelector('#text').value.startsWith('theirs'));")
    user.sees("1 caption files are saved.", where="#said")
    assert (photos / "a.txt").read_text() == "mine 2\n"


@in_a_browser
def test_korean_and_a_phone(browser: Browser, user: Browser) -> None:
    user.do("await page.selectOption('#language', 'ko');")
    user.sees("저장", "그림 5장", where="header")
    assert user.has("document.querySelector('#search').placeholder") == "캡션 검색"
    user.do("await page.selectOption('#language', 'en'); await page.setViewportSize({width: 380, height: 800});")
    assert user.has("document.documentElement.scrollWidth") <= 380
    assert user.has("document.querySelector('#search').placeholder") == "Search captions"


@in_a_browser
def test_hints_name_what_captions_lack_and_mend_it(user: Browser) -> None:
    user.press("h")
    user.sees("In the pictures, not in the captions", "sunglasses (1)", where="#hints")
    user.do("await page.getByRole('button', {name: 'Add', exact: true}).click();")
    user.sees("1 changed", where="#summary")
    user.do("await page.locator('#gallery').focus();")
    user.press("Control+z", "h")
    user.do("await page.fill('#hints input', 'luna'); await page.locator('#hints input').blur();")
    user.sees("Without the trigger word luna", where="#hints")
    user.do("await page.getByRole('button', {name: 'Add it'}).click();")
    user.sees("4 captions change.", where="dialog")
    apply(user)
    user.do(
        "await page.waitForFunction(() => !document.querySelector('#hints').textContent.includes('Without the trigger'));"
    )


@in_a_browser
def test_a_lost_server_is_told_and_nothing_is_lost(user: Browser, editor: Page) -> None:
    user.do("await page.fill('#text', 'penny, kept');")
    user.press("Control+Enter")
    user.do("await page.route('**/save', (route) => route.abort());")
    user.press("Control+s", "Enter")
    user.sees("Your changes are still on this page", where="#problem")
    user.do("await page.unroute('**/save'); complaints.length = 0;")
    user.press("Control+s", "Enter")
    user.sees("1 caption files are saved.", where="#said")
