"""Destinations of results: no file of the user is lost, and problems are reported before a run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline import destinations, loader
from lorapipe.pipeline.artifacts import Report, Weights
from lorapipe.pipeline.delivery_log import DeliveryLog
from lorapipe.pipeline.events import Event, Failed, Finished, Reused, Started
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.ledger import Ledger
from lorapipe.spec import Destination
from lorapipe.stages.export import Export
from lorapipe.watch.results import deliver

FOREIGN = "a file that lorapipe has not made is already there"
CHANGED = "has been changed since lorapipe wrote it"
SOURCE = "is a source of this pipeline"


def go(project: Path, *sets: str, name: str = "cat.yaml") -> list[Event]:
    return [*Run(loader.load(project / name, sets), on="inline")]


def refused(project: Path, *sets: str) -> str:
    """Return the message of `check`, `plan` and `run`, which must be equal; none of them writes a byte."""
    pipeline, before = loader.load(project / "cat.yaml", sets), state(project)
    with pytest.raises(InputError) as checked:
        destinations.check([pipeline])
    assert state(project) == before
    with pytest.raises(InputError) as ran:
        [*Run(pipeline, on="inline")]
    assert str(ran.value) == str(checked.value)
    assert {name: data for name, data in state(project).items() if ".lorapipe" not in name} == before
    assert "kept.to" in str(checked.value)
    return str(checked.value)


def state(folder: Path) -> dict[str, object]:
    """Return every file with its bytes, every link with its target, every folder."""
    return {
        str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if ".lorapipe" not in path.parts and path.name != "ledger.db"
    }


# ---------------------------------------------------------------------------------------------------- what may be replaced


@pytest.mark.parametrize("data", [b"<p>mine</p>", b"\x89PNG", b"\0" * 5000], ids=["a page", "a picture", "zeros"])
def test_what_somebody_else_has_made_stays(project: Path, data: bytes) -> None:
    (project / "result.html").write_bytes(data)
    assert FOREIGN in refused(project) and "overwrite: true" in refused(project)
    assert any(isinstance(event, Finished) for event in go(project, "kept.overwrite=true"))
    assert (project / "result.html").read_bytes() != data
    go(project, "tally.word=b")  # lorapipe has written it now
    assert (project / "result.html").read_text() == "<p>1</p>"


def test_our_own_is_replaced_until_somebody_changes_it(project: Path) -> None:
    go(project)
    go(project, "tally.word=b")
    go(project, "tally.word=a")  # and an earlier version of it, put back
    assert (project / "result.html").read_text() == "<p>3</p>"
    (project / "result.html").write_text("<p>3, I think</p>")
    assert CHANGED in refused(project)
    (project / "result.html").write_text("")  # nothing that could be lost
    go(project)
    (project / "result.html").unlink()
    assert [type(event) for event in go(project)][-1] is Reused
    assert (project / "result.html").read_text() == "<p>3</p>"


def test_a_project_that_was_moved_knows_its_files(project: Path) -> None:
    go(project)
    moved = project.rename(project.with_name(f"{project.name}-moved"))
    go(moved, "tally.word=b")
    assert (moved / "result.html").read_text() == "<p>1</p>"


def test_a_result_that_an_earlier_lorapipe_has_delivered_is_known_by_the_store(project: Path) -> None:
    go(project)
    (project / ".lorapipe" / "delivered.jsonl").unlink()
    go(project, "tally.word=b")
    assert (project / "result.html").read_text() == "<p>1</p>"


def test_another_pipeline_of_the_project_may_replace_it_and_the_plan_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    go(project)
    (project / "dog.yaml").write_text((project / "cat.yaml").read_text().replace("word: a", "word: b"))
    assert main(["plan", "dog.yaml"]) == 0
    assert "result.html, which kept of cat.yaml has made" in capsys.readouterr().out
    go(project, name="dog.yaml")
    assert (project / "result.html").read_text() == "<p>1</p>"


def test_the_plan_says_what_is_made_of_a_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    go(project)
    assert main(["plan", "cat.yaml", "--set", "kept.to=out/", "--set", "kept.ending=.html"]) == 0
    assert f"writes {project / 'out' / 'cat.html'}" in capsys.readouterr().out and not (project / "out").exists()


def test_a_half_written_record_is_no_end(project: Path) -> None:
    go(project)
    record = project / ".lorapipe" / "delivered.jsonl"
    record.write_bytes(b"\xff{[\n" + record.read_bytes() + b'{"place": "resu')
    go(project, "tally.word=b")
    assert (project / "result.html").read_text() == "<p>1</p>"


def test_what_comes_to_be_there_while_it_runs_stays_and_the_result_is_kept(project: Path) -> None:
    events = list[Event]()
    for event in Run(loader.load(project / "cat.yaml"), on="inline"):
        events.append(event)
        if isinstance(event, Started) and event.stage == "kept":
            (project / "result.html").write_text("mine")
    failed = next(event for event in events if isinstance(event, Failed))
    assert FOREIGN in failed.message and "need not be made again" in failed.message
    assert (project / "result.html").read_text() == "mine"
    assert (project / "outputs" / "kept" / "page.html").read_text() == "<p>3</p>"
    (project / "result.html").unlink()
    assert [type(event) for event in go(project) if event.stage == "kept"][-1] is Reused


def test_runs_at_once_put_their_files_at_one_place_and_none_fails(tmp_path: Path) -> None:
    """Each has its own delivery log in memory, as processes do."""
    for number in range(4):
        (tmp_path / f"made-{number}").write_bytes(bytes([number]) * 100_000)
    place, errors = tmp_path / "out" / "penny.safetensors", list[BaseException]()

    def put(number: int) -> None:
        try:
            for turn in range(8):
                source = tmp_path / f"made-{(number * turn) % 4}"
                DeliveryLog(Ledger(tmp_path)).put(source, place, f"run {number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors
    assert place.read_bytes() in {(tmp_path / f"made-{number}").read_bytes() for number in range(4)}
    assert [each.name for each in place.parent.iterdir()] == [place.name]
    assert not DeliveryLog(Ledger(tmp_path)).objection(place)


# --------------------------------------------------------------------------------------------------------------- sources


def hard_link(project: Path) -> str:
    os.link(project / "texts" / "one.txt", project / "hard.txt")
    return "hard.txt"


def link_to_a_source(project: Path) -> str:
    (project / "link.txt").symlink_to(project / "texts" / "one.txt")
    return "link.txt"


def linked_folder(project: Path) -> str:
    (project / "other").symlink_to(project / "texts")
    return "other/two.txt"


def what_a_source_links_to(project: Path) -> str:
    (project / "elsewhere.txt").write_text("a a")
    (project / "texts" / "three.txt").symlink_to(project / "elsewhere.txt")
    return "elsewhere.txt"


def extended(project: Path) -> str:
    (project / "base.yaml").write_text((project / "cat.yaml").read_text())
    (project / "cat.yaml").write_text("extends: base.yaml\n")
    return "base.yaml"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize(
    "place",
    [
        lambda project: "texts/one.txt",
        lambda project: "texts/../texts/two.txt",
        lambda project: "cat.yaml",
        hard_link,
        link_to_a_source,
        linked_folder,
        what_a_source_links_to,
        extended,
    ],
    ids=["text", "spelled otherwise", "pipeline", "hard link", "link", "linked folder", "linked source", "extended"],
)
def test_a_source_is_never_replaced_whatever_it_is_called(project: Path, place) -> None:
    to = place(project)
    for overwrite in ("true", "false"):
        assert SOURCE in refused(project, f"kept.to={to}", f"kept.overwrite={overwrite}")


def test_the_store_is_not_written_into(project: Path) -> None:
    go(project)
    for to in ("outputs/kept/page.html", ".lorapipe/x.html", "outputs/text/new.html"):
        assert "store" in refused(project, f"kept.to={to}")


# ----------------------------------------------------------------------------------------------------- names and endings


@pytest.mark.parametrize(
    ("to", "file"),
    [
        ("out/penny.safetensors", "out/penny.safetensors"),
        ("out/penny", "out/penny.safetensors"),
        ("out/penny.v1.2", "out/penny.v1.2.safetensors"),
        ("out/penny.final", "out/penny.final.safetensors"),
        ("out/PENNY.SafeTensors", "out/PENNY.SafeTensors"),
        ("out/한글 로라", "out/한글 로라.safetensors"),
        ("out/", "out/cat.safetensors"),
        ("there", "there/cat.safetensors"),
        (".", "cat.safetensors"),
        ("there/..", "there/../cat.safetensors"),
    ],
)
def test_an_ending_is_added_and_a_folder_means_a_file_in_it(project: Path, to: str, file: str) -> None:
    (project / "there").mkdir()
    go(project, "kept.ending=.safetensors", f"kept.to={to}")
    assert (project / file).read_text() == "<p>3</p>"
    assert (project / "there").is_dir()


@pytest.mark.parametrize(
    "name",
    ["penny.ckpt", "penny.PT", "penny.bin", "penny.png", "penny.txt", "penny.safetensor", ".safetensors", "p.zip"],
)
def test_a_wrong_ending_is_refused_when_the_file_is_read(project: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cat\.yaml:9:\d+ kept\.to|--set kept\.to") as error:
        loader.load(project / "cat.yaml", ["kept.ending=.safetensors", f"kept.to=out/{name}"])
    assert ".safetensors" in error.value.problems[0].cure


def test_an_export_has_the_same_rules() -> None:
    def complaint(to: str) -> list[str]:
        stage = Export(weights=None, to=Destination.parse(to, Path("/p")))  # type: ignore[arg-type]
        return [problem.what for problem in stage.problems()]

    assert not complaint("out/penny") and not complaint("out/") and not complaint("out/p.v2")
    assert complaint("out/penny.ckpt") == [
        "penny.ckpt does not end in .safetensors, by which other programs recognise the file."
    ]
    for text in ("", "  ", "a\0b", "~nobody-of-that-name/x"):
        with pytest.raises(ValueError):
            Destination.parse(text, Path("/p"))
    assert Destination.parse("a/", Path("/p")).plain() == "/p/a/"


# --------------------------------------------------------------------------------------------------- before anything runs


def test_places_that_cannot_be_are_told_with_a_cure(project: Path) -> None:
    (project / "file").write_text("")
    (project / "folder.html").mkdir()
    for to, words in {
        "file/x.html": "is a file, not a folder",
        "file/deeper/x.html": "is a file, not a folder",
        "/mnt/no-such-drive/x.html": "Is the drive connected?",
        "/media/someone/STICK/loras/x.html": "Is the drive connected?",
        "/no-such-top-folder/x.html": "Is the drive connected?",
        "../no/such/x.html": "is not there",
    }.items():
        if sys.platform != "win32" or not to.startswith("/"):
            assert words in refused(project, f"kept.to={to}"), to


@pytest.mark.parametrize("name", ["nul.safetensors", "CON", "com1.x", "a:b.safetensors", 'a"b', "a?", "ends.", "ends "])
def test_names_that_windows_keeps_for_itself(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert destinations._bad_name(Path("/loras") / name) is None
    with monkeypatch.context() as there:
        there.setattr(sys, "platform", "win32")
        refused_there = destinations._bad_name(Path("/loras") / name)
        right = destinations._bad_name(Path("/loras/penny.v1 (2).safetensors"))
    assert refused_there is not None and "Windows" in refused_there[0] and right is None


@pytest.mark.parametrize("name", ["x" * 300, "고" * 90], ids=["letters", "bytes"])
def test_a_name_that_no_file_can_have_is_refused_when_the_file_is_read(project: Path, name: str) -> None:
    with pytest.raises(InputError, match="255"):
        destinations.check([loader.load(project / "cat.yaml", [f"kept.to=out/{name}.html"])])


def test_the_ending_may_make_a_name_too_long(project: Path) -> None:
    assert "255" in refused(project, f"kept.to={'x' * 245}", "kept.ending=.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="such files are Unix's")
def test_a_pipe_and_a_ring_of_links_are_not_written_to(project: Path) -> None:
    os.mkfifo(project / "pipe.html")
    (project / "ring.html").symlink_to("ring.html")
    assert "not a regular file" in refused(project, "kept.to=pipe.html", "kept.overwrite=true")
    assert "cannot be written" in refused(project, "kept.to=ring.html")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files, whoever asks")
def test_a_place_that_refuses_is_found_before_the_first_stage(project: Path) -> None:
    events = list[Event]()
    with pytest.raises(InputError, match=r"kept\.to.*cannot be written"):
        events += Run(loader.load(project / "cat.yaml", ["kept.to=/proc/x.html"]), on="inline")
    assert not events


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_told(project: Path) -> None:
    (project / "closed").mkdir(mode=0o500)
    assert "nothing can be written" in refused(project, "kept.to=closed/x.html")


def test_folders_are_made_in_the_project_and_one_elsewhere(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    go(project, "kept.to=a/b/c/x.html")
    go(project, f"kept.to={other / 'loras' / 'x.html'}")
    assert (project / "a/b/c/x.html").is_file() and [*other.rglob("*.html")] == [other / "loras" / "x.html"]


def test_trying_leaves_nothing_behind_when_nothing_is_made(project: Path) -> None:
    (project / "texts" / "bad.txt").write_bytes(b"\xff")
    before = state(project)
    events = go(project, "kept.to=a/b/x.html")
    assert any(isinstance(event, Failed) for event in events)
    assert {name for name in state(project) if "outputs" not in name} == {*before}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_at_the_place_is_followed_and_stays(project: Path) -> None:
    (project / "big").mkdir()
    (project / "result.html").symlink_to(Path("big") / "real.html")
    go(project)
    go(project, "tally.word=b")
    assert (project / "result.html").is_symlink() and (project / "big" / "real.html").read_text() == "<p>1</p>"


def test_two_stages_at_one_place_are_refused(project: Path) -> None:
    text = (project / "cat.yaml").read_text()
    (project / "cat.yaml").write_text(f"{text}  twin: {{uses: keep, tally: $tally, to: ./x/../result.html}}\n")
    with pytest.raises(InputError, match=r"twin\.to.*kept writes there too"):
        destinations.check([loader.load(project / "cat.yaml")])
    matrix = text.replace("word: a", "matrix: {word: [a, b]}").replace("{uses: keep,", "{uses: keep, matrix: $tally,")
    (project / "cat.yaml").write_text(matrix)
    with pytest.raises(InputError, match="cell"):
        destinations.check([loader.load(project / "cat.yaml")])
    go(project, "kept.to=result-${cell}.html")
    assert (project / "result-b.html").read_text() == "<p>1</p>"


def test_check_says_it_with_the_line_and_ends_with_2(project: Path) -> None:
    (project / "result.html").write_text("mine")
    for command in ("check", "plan", "run"):
        words = [sys.executable, "-m", "lorapipe", command, "cat.yaml"]
        said = subprocess.run(words, cwd=project, capture_output=True, encoding="utf-8", check=False)
        assert said.returncode == 2 and "cat.yaml:9:37 kept.to" in said.stderr and "^" in said.stderr, said


def test_what_an_inbox_lays_beside_the_results_replaces_nothing_of_the_users(tmp_path: Path) -> None:
    made, folder = tmp_path / "made", tmp_path / "penny"
    made.mkdir()
    folder.mkdir()
    for name in ("report.html", "grid.webp", "data.json"):
        (made / name).write_text(f"first {name}")
    best = Weights((), None, made / "t.json", made / "l.jsonl")  # type: ignore[arg-type]
    report = Report(made / "report.html", made / "data.json", made / "grid.webp", best)
    assert not [*deliver({"grid": report}, folder, "penny")]
    (folder / "grid.webp").unlink()
    (folder / "grid.webp").write_text("mine")
    (made / "report.html").unlink()
    (made / "report.html").write_text("second report.html")
    assert ["grid.webp could not be written" in line for line in deliver({"grid": report}, folder, "penny")] == [True]
    assert (folder / "report.html").read_text() == "second report.html" and (folder / "grid.webp").read_text() == "mine"
