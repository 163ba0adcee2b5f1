"""The command line: output for people and for programs, and the exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lorapipe import commands, run_display
from lorapipe.cli import main
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline import event_text
from lorapipe.pipeline.events import Failed, Finished, Log, Planned, Progress, Started, from_json


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as the current folder."""
    monkeypatch.chdir(project)
    return project


def test_run_says_what_it_does_and_what_to_open(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cat.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip(" 0123456789.s") for line in lines[:2]] == ["▸ text   first run", "✓ text"]
    assert lines[-1] == "  result.html" and lines[-3] == ""
    assert main(["run", "cat.yaml"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["· text   reused", "· tally  reused", "· kept   reused"]


def test_plan_shows_actions_and_reasons_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "cat.yaml"]) == 0
    assert capsys.readouterr().out == "text   run    first run\ntally  run    after text\nkept   run    after tally\n"
    assert not (here / ".lorapipe").exists()
    assert main(["plan", "cat.yaml", "--json"]) == 0
    assert from_json(capsys.readouterr().out.splitlines()[0]) == Planned("text", "run", "first run")


def test_check_is_silent_on_what_is_right_and_lists_what_is_not(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "cat.yaml"]) == 0
    assert capsys.readouterr().out == "cat.yaml is valid: text, tally, kept.\n"
    assert main(["check", "cat.yaml", "--set", "tally.least=-1", "--set", "text.uper=1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--set text.uper: unknown setting \"uper\". Did you mean 'upper'?",
        "--set tally.least: -1 is below the minimum 0. Counts below this are zero.",
    ]


@pytest.mark.parametrize("command", ["run", "plan", "check"])
def test_a_missing_file_is_the_users_mistake(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "cta.yaml"]) == 2
    assert capsys.readouterr().err == "cta.yaml: there is no such file. Did you mean 'cat.yaml'?\n"


@pytest.mark.parametrize(("how", "status"), [("bug", 1), ("input", 2)])
def test_a_failure_names_the_command_that_goes_on(
    here: Path, capsys: pytest.CaptureFixture[str], how: str, status: int
) -> None:
    (here / "bad.yaml").write_text(
        "stages:\n  bad: {uses: trouble}\n  after: {uses: count, text: $bad}\n", encoding="utf-8"
    )
    assert main(["run", "bad.yaml", "--quiet", "--set", f"bad.how={how}", "--set", "after.word=a b"]) == status
    assert main(["run", "bad.yaml", "--set", f"bad.how={how}", "--set", "after.word=a b"]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "Failed: bad. Finished results are kept. To resume:"
    assert lines[-1] == f"  lorapipe run bad.yaml --set bad.how={how} --set 'after.word=a b'"
    assert any(line.startswith("· after  not run, because it needs bad") for line in lines)


def test_quiet_prints_nothing_where_all_is_well(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cat.yaml", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_json_prints_events(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cat.yaml", "--json"]) == 0
    events = [from_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [event.stage for event in events if isinstance(event, Finished)] == ["text", "tally", "kept"]
    assert all(json.loads(line)["v"] == 1 for line in (here / ".lorapipe/runs/1/events.jsonl").read_text().splitlines())


def test_show_lists_and_explains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"]) == 0
    assert "count" in capsys.readouterr().out.splitlines()[0]
    assert main(["show", "stage"]) == 0
    assert re.search(r"^  count +Counts a word\.$", capsys.readouterr().out, re.MULTILINE)
    assert main(["show", "stage", "count"]) == 0
    text = capsys.readouterr().out
    assert "  makes: Tally\n" in text
    assert "  least: whole number, ≥ 0 and ≤ 100; default 0\n      Counts below this are zero.\n" in text
    assert "  text: $text, a reference to a stage that makes a Text; required\n" in text
    assert main(["show", "stage", "train"]) == 0
    text = capsys.readouterr().out
    assert "  noise: settings of its own:\n" in text and "\n        offset: number, ≥ 0 and ≤ 1; default 0.0\n" in text
    assert main(["show", "stage", "cuont"]) == 2
    assert main(["show", "staeg"]) == 2
    assert "Did you mean 'stage'?" in capsys.readouterr().err


def test_a_bad_device_is_refused_before_anything_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cat.yaml", "--device", "gpu"]) == 2
    assert "'gpu' is not a device" in capsys.readouterr().err
    assert main(["run", "cat.yaml", "--on", "locl"]) == 2
    assert "Did you mean 'local'?" in capsys.readouterr().err
    assert not Path(".lorapipe").exists()


def test_there_are_no_more_than_twelve_flags() -> None:
    files = [file for folder in commands.__path__ for file in Path(folder).glob("*.py")]
    assert 1 <= sum(file.read_text("utf-8").count('add_argument("--') for file in files) <= 12


def test_every_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert text.index("    run ") < text.index("    plan ") < text.index("    schema ")


def test_several_pipelines_run_in_one_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "dog.yaml").write_text((here / "cat.yaml").read_text().replace("word: a", "word: b"), encoding="utf-8")
    assert main(["run", "cat.yaml", "dog.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cat.yaml:" and "· text   reused" in lines[lines.index("dog.yaml:") :]
    (here / "bad.yaml").write_text("stages: {text: {uses: wrods}}", encoding="utf-8")
    assert main(["run", "bad.yaml", "cat.yaml", "cta.yaml"]) == 2
    errors = capsys.readouterr().err
    assert "Did you mean 'words'?" in errors and "Did you mean 'cat.yaml'?" in errors


def started(here: Path, *words: str, **options) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lorapipe", *words]
    return subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
def test_ctrl_c_saves_and_says_how_to_go_on(here: Path) -> None:
    run = started(here, "run", "cat.yaml", "--set", "tally.steps=4000", "--set", "tally.pause=0.01")
    assert run.stdout is not None
    while not run.stdout.readline().startswith("▸ tally".encode()):
        pass
    run.send_signal(signal.SIGINT)
    rest, errors = run.communicate(timeout=20)
    lines = rest.decode("utf-8").splitlines()
    assert run.returncode == 130 and errors == b""
    assert lines[0].startswith("Stopping as soon as")
    assert lines[-2] == "Stopped. Finished results are kept. To resume:"
    assert (next((here / ".lorapipe" / "work").iterdir()) / "resume" / "step.txt").exists()


def test_a_console_without_our_characters_is_served_all_the_same(here: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    (here / "고양이.yaml").write_text((here / "cat.yaml").read_text(), encoding="utf-8")
    for words, expected in (
        (["run", "cat.yaml"], b"> text   first run"),
        (["check", "고양이.yaml"], b"???.yaml is valid"),
    ):
        run = started(here, *words, env=environment)
        out, errors = run.communicate(timeout=60)
        assert (run.returncode, errors) == (0, b"") and expected in out


def test_closing_the_pipe_is_no_crash(here: Path) -> None:
    run = started(here, "show")
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    assert b"Traceback" not in run.stderr.read()
    run.wait()


# ---------------------------------------------------------------------------------------------------------- display


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_bar_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    view = run_display.Display(stream, ["penny"])
    for event in (
        Planned("penny", "run", "adapter.rank 8 → 16"),
        Started("penny", "k"),
        Progress("penny", 212, 400, "steps", 58.0, {"loss": 0.08123, "lr": 1e-4, "s/it": 0.31}),
        Log("penny", "two pictures are alike", "warning"),
        Finished("penny", "k", 133.0, ("/somewhere/report.html",)),
    ):
        view.show(event)
    view.close()
    shown = stream.getvalue()
    assert "212/400" in shown and "loss 0.08123  lr 1.00e-04  s/it 0.31  0:58 left" in shown
    assert "▸ penny  adapter.rank 8 → 16\n" in shown
    assert "! penny  two pictures are alike" in shown
    assert shown.index("2 min 13 s") < shown.index("/somewhere/report.html")


def test_without_a_terminal_there_is_no_bar() -> None:
    stream = io.StringIO()
    view = run_display.Display(stream, ["penny"])
    view.show(Planned("penny", "run", "first run"))
    view.show(Started("penny", "k"))
    for step in range(1000):
        view.show(Progress("penny", step, 1000))
    view.show(Failed("penny", "oom", "out of memory", "Use a smaller batch."))
    assert stream.getvalue() == "▸ penny  first run\n✗ penny  out of memory\n         Use a smaller batch.\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (133, "2 min 13 s"), (3725, "1 h 2 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert event_text.duration(seconds) == text


def test_numbers_are_short() -> None:
    values = [0.08123456, 1e-4, 1.0, 1234.5, 3, float("nan"), 1e9]
    assert list(map(event_text.number, values)) == ["0.08123", "1.00e-04", "1", "1234", "3", "nan", "1.00e+09"]


def test_a_misspelt_command_gets_the_near_miss(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["paln", "cat.yaml"])
    assert end.value.code == 2 and "there is no command 'paln'. Did you mean 'plan'?" in capsys.readouterr().err


def test_a_pipeline_is_written_as_a_graph_in_both_of_its_forms(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workflow", "cat.yaml"]) == 0
    assert capsys.readouterr().out == "cat.json: 3 nodes\n"
    page = json.loads((here / "cat.json").read_text("utf-8"))
    assert [node["type"] for node in page["nodes"]] == [f"LorapipeStage{name}" for name in ("Words", "Count", "Keep")]
    assert main(["workflow", "cat.yaml", "graph.api.json", "--set", "tally.word=b"]) == 0
    sent = json.loads((here / "graph.api.json").read_text("utf-8"))
    assert sent["2"]["inputs"]["word"] == "b" and sent["3"]["inputs"]["tally"] == ["2", 0]
    assert main(["workflow", "cat.yaml", str(here)]) == 2
    assert capsys.readouterr().err.endswith("is not a file. Name a file to write, such as cat.json.\n")


def test_a_graph_replaces_only_what_lorapipe_has_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["cat.yaml"], ["cat.yaml", "--set", "tally.word=b"], ["cat.yaml", "other"]):
        assert main(["workflow", *words]) == 0
    assert '"b"' in (here / "cat.json").read_text("utf-8") and (here / "other.json").is_file()
    before = (here / "cat.yaml").read_bytes()
    (here / "cat.json").write_text('{"nodes": "moved about in ComfyUI"}', encoding="utf-8")
    (here / "mine.json").write_text("{}", encoding="utf-8")
    for to, why in (("cat.yaml", "end in .json"), ("cat.json", "changed since"), ("mine.json", "has not made")):
        assert main(["workflow", "cat.yaml", to]) == 2
        assert why in capsys.readouterr().err
    assert (here / "cat.yaml").read_bytes() == before and (here / "mine.json").read_text() == "{}"


def test_a_schema_of_somebody_elses_is_not_replaced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "schemas").mkdir()
    (here / "schemas" / "pipeline.schema.json").write_text('{"title": "mine"}')
    assert main(["schema", "--write"]) == 2 and "Move it away" in capsys.readouterr().err
    (here / "schemas" / "pipeline.schema.json").unlink()
    assert main(["schema", "--write"]) == main(["schema", "--write"]) == 0


@pytest.mark.parametrize("words", [[], ["help"], ["help", "run"], ["help", "show"], ["--help"]])
def test_help_is_given_to_whoever_asks(here: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    told = capsys.readouterr()
    assert end.value.code == 0 and not told.err
    assert told.out.startswith(f"usage: lorapipe {words[1]}" if words[1:] else "usage: lorapipe [-h]")


def test_several_pipelines_are_told_apart(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two", "three"):
        (here / name).mkdir()
        stage = "{uses: trouble, how: input}" if name != "two" else "{uses: words, folder: ../texts}"
        (here / name / "p.yaml").write_text(f"stages:\n  made: {stage}\n", encoding="utf-8")
    files = ["one/p.yaml", "two/p.yaml", "three/p.yaml"]
    assert main(["run", *files]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in lines if line[:-1] in files] == files
    assert lines[-2] == "Failed: one/p.yaml: made; three/p.yaml: made. Finished results are kept. To resume:"


def test_a_quiet_stage_is_said_to_be_quiet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cat.yaml", "--quiet"]) == main(["log", "kept"]) == main(["log", "text"]) == 0
    assert capsys.readouterr().out == "kept has printed nothing.\njoined 9 characters\n"


def test_an_idle_queue_says_so(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "retry"]) == main(["queue", "work", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "No job has failed or been set aside.\nNothing waits.\n"
    assert main(["queue", "clear"]) == main(["queue", "retry", "--json"]) == main(["queue", "work", "--json"]) == 0
    assert capsys.readouterr().out == "0 jobs removed; their results are kept.\n"


def test_a_folder_that_was_moved_is_no_damage(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cat.yaml", "--quiet"]) == 0
    (here / "texts").rename(here / "moved")
    assert main(["plan", "cat.yaml", "--set", "vars.folder=moved"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"text   run    {here / 'texts'} was moved or deleted"


PROMPTS = """\
stages:
  dataset: {uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}}
  penny:
    uses: train
    matrix: {adapter.rank: [4, 8]}
    dataset: $dataset
    preview_prompts: ["penny --n bad --w 512", penny]
  grid:
    uses: evaluate
    weights: $penny-4
    prompts: ["penny, <lora:penny:0.8>", "penny --d 42", "penny -- a hat", "a <b> c: d"]
"""


def test_marks_of_other_programs_in_prompts_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "p.yaml").write_text(PROMPTS, encoding="utf-8")
    assert main(["check", "p.yaml"]) == main(["plan", "p.yaml"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("! ")]
    assert len(told) == 6 and told[:3] == told[3:]
    assert told[0].startswith(
        "! p.yaml:7:23 penny.preview_prompts[0]: --n, --w of kohya's sample prompts have no effect"
    )
    assert "has negative_prompt, size as settings" in told[0]
    assert "grid.prompts[0]: <lora:penny:0.8> loads nothing here" in told[1]
    assert "grid.prompts[1]: --d of kohya's" in told[2]
