"""A `lorapipe.yaml` in a dropped folder is not trusted: limits on its paths and work, and messages that reveal nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from corpus.drops import photographs

from lorapipe import registry
from lorapipe.errors import InputError
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.watch.allowed_paths import READ
from lorapipe.watch.isolated_check import check_apart
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings

unix = pytest.mark.skipif(sys.platform == "win32", reason="links as Unix has them")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dropped folder with a secret file beside it."""
    secret = tmp_path / "private"
    photographs(secret / "album")
    (secret / "SECRET-0.txt").write_text("secret", encoding="utf-8")
    return photographs(tmp_path / "inbox" / "penny")


def order_of(folder: Path) -> DroppedFolder:
    return DroppedFolder(folder, folder.name, folder.parents[1] / "outputs" / folder.name, folder.name)


def made(folder: Path, text: str, *sets: str, pipeline: Path | None = None, **settings: object) -> Pipeline:
    """Return the pipeline of a folder with its own settings."""
    (folder / "lorapipe.yaml").write_text(text, encoding="utf-8")
    known: dict[str, object] = {"least": 3, **settings}
    return write(InboxPipeline(pipeline, sets, WatchSettings(**known)), order_of(folder))


def refused(folder: Path, text: str, *sets: str, **settings: object) -> InputError:
    """Return the message about refused settings."""
    with pytest.raises(InputError) as caught:
        made(folder, text, *sets, **settings)
    return caught.value


# ------------------------------------------------------------------------------------------------------- what it may name

MORE = "{{more: {{uses: prepare, images: '${{a}}', base: {{family: sd15, checkpoint: pocket}}}}}}"
KNOBS = {
    "images": "stages: {{dataset: {{images: {0}}}}}",
    "images by vars": "vars: {{mine: {0}}}\nstages: {{dataset: {{images: '${{mine}}'}}}}",
    "images of another stage": f"vars: {{{{a: {{0}}}}}}\nstages: {MORE}",
    "masks": "stages: {{dataset: {{masks: {0}}}}}",
    "checkpoint": "vars: {{checkpoint: {0}}}",
    "vae": "stages: {{dataset: {{base: {{vae: {0}}}}}}}",
    "start_from": "stages: {{lora: {{start_from: {0}}}}}",
    "clip": "stages: {{grid: {{clip: {0}}}}}",
    "matrix": "stages: {{l: {{uses: train, dataset: $dataset, matrix: {{start_from: [{0}]}}}}}}",
}


@pytest.mark.parametrize("knob", KNOBS)
def test_all_that_lies_outside_is_refused_with_one_sentence(folder: Path, knob: str) -> None:
    """The message is the same whether the path exists or not, and whatever it is."""
    private = folder.parents[1] / "private"
    outside = [
        str(private), str(private / "SECRET-0.txt"), str(private / "nix"), "/etc/passwd", "/dev/zero", "/no/such/thing",
        "~", "~/x", "~root/x", "~nobody-of-this-name/x", "..", "../../private/SECRET-0.txt", "../gone", "x/../../../private",
        "${folder}/../../private", "/proc/self/environ",
    ]  # fmt: skip
    told = set()
    for path in outside:
        error = refused(folder, KNOBS[knob].format(f'"{path}"'))
        told |= {problem.what for problem in error.problems}
        words = [text for problem in error.problems for text in (problem.what, problem.cure)]
        assert not any(secret in text for text in words for secret in ("SECRET", "album", "private", "nobody"))
        assert all("lorapipe.yaml" in problem.where for problem in error.problems)
    assert told == {READ}


@unix
def test_a_link_out_is_outside_whatever_it_is_called(folder: Path) -> None:
    (folder / "more").symlink_to(folder.parents[1] / "private", target_is_directory=True)
    (folder / "gone").symlink_to(folder.parents[1] / "nowhere")
    for path in ("more", "more/album", "more/SECRET-0.txt", "more/nix", "gone", "gone/x"):
        error = refused(folder, f"stages: {{dataset: {{images: {path}}}}}")
        assert [problem.what for problem in error.problems] == [READ]


def test_what_lies_in_the_folder_may_be_named(folder: Path) -> None:
    photographs(folder / "sub")
    text = "stages: {dataset: {images: sub, masks: ./sub/../sub}}"
    dataset = made(folder, text).stages["dataset"]
    assert (dataset.images.path.resolve(), dataset.masks.path.resolve()) == ((folder / "sub").resolve(),) * 2
    error = refused(folder, "stages: {dataset: {images: sbu}}")
    assert "does not exist. Did you mean 'sub'?" in str(error)


def test_what_the_owners_pipeline_names_may_be_named(folder: Path) -> None:
    masks = photographs(folder.parents[1] / "masks").as_posix()
    text, given = f"stages: {{dataset: {{masks: '{masks}'}}}}", f"dataset.masks={masks}"
    assert made(folder, text, given).stages["dataset"].masks.path == Path(masks)
    assert made(folder, "vars: {trigger: pny}", given).stages["dataset"].masks.path == Path(masks)
    for other in ("album", "0.png", "../private"):
        assert READ in str(refused(folder, text.replace(masks, f"{masks}/{other}"), given))
    assert READ in str(refused(folder, text))


@pytest.mark.parametrize(
    "to",
    [
        "/tmp/x.safetensors",
        "../up.safetensors",
        "~/x.safetensors",
        "~nobody/x",
        ".lorapipe/store/x",
        "a/../../x",
        "${images}/x",
    ],
)
def test_it_writes_only_into_the_folder_of_the_results(folder: Path, to: str) -> None:
    error = refused(folder, f"stages: {{file: {{to: '{to}'}}}}")
    assert "may only write into the folder of results" in str(error)
    assert (
        made(folder, "stages: {file: {to: '${folder}/mine.safetensors'}}").stages["file"].to.path.name
        == "mine.safetensors"
    )


def test_a_message_names_nothing_of_the_owners(folder: Path) -> None:
    """A problem that shows in the owner's pipeline is reported at the folder's settings, without full paths."""
    mine = folder.parents[1] / "owner" / "mine.yaml"
    photographs(mine.parent)
    mine.write_text(
        "vars: {images: ., name: x, folder: ., trigger: a, rank: 8}\nstages:\n"
        "  dataset: {uses: prepare, images: '${images}', base: {family: sd15, checkpoint: pocket}}\n"
        "  lora: {uses: train, dataset: $dataset, adapter: {type: lora, rank: '${rank}'}}\n",
        encoding="utf-8",
    )
    (folder / "lorapipe.yaml").write_text("vars: {rank: -1}", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        write(InboxPipeline(mine, (), WatchSettings(least=3)), order_of(folder))
    assert "below the minimum" in str(caught.value) and "owner" not in str(caught.value)


@pytest.mark.parametrize("text", ["extends: ../../private/SECRET-0.txt", "extends: [a.yaml]", "extends: ~"])
def test_it_extends_nothing(folder: Path, text: str) -> None:
    assert "cannot extend other files" in str(refused(folder, text))


# -------------------------------------------------------------------------------------------------- how much it may ask for


SHORT = "uses: train, dataset: $dataset, steps: 9, snapshots: 1"


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("vars: {steps: 1000000000}", "most_steps"),
        ("stages: {lora: {steps: 1000000 epochs}}", "most_steps"),
        ("stages: {lora: {steps: 50000, accumulation: 100}}", "most_steps"),
        ("stages: {lora: {steps: 30 epochs}, dataset: {repeats: 10000}}", "most_steps"),
        ("stages: {l: {uses: train, dataset: $dataset, matrix: {steps: [30000, 40000, 50000]}}}", "most_steps"),
        ("stages: {lora: {snapshots: 100000, steps: 1000}}", "most_snapshots"),
        ("stages: {lora: {snapshots: every 1 steps, steps: 5000}}", "most_snapshots"),
        ("stages: {lora: {preview_prompts: [a], previews: every 1 steps, steps: 50000}}", "most_painted"),
        (f"stages: {{grid: {{prompts: [{', '.join(f'w{n}' for n in range(1500))}]}}}}", "most_painted"),
        ("stages: {grid: {pictures: 64, snapshots: 1000}}", "most_painted"),
        ("stages: {grid: {steps: 1000, pictures: 64, snapshots: 100}}", "most_painted"),
        (f"stages: {{dataset: {{caption_edits: [{', '.join(['dedupe'] * 101)}]}}}}", "most_edits"),
        ("stages: {lora: {adapter: {rank: 600}}}", "most_rank"),
        ("stages: {lora: {batch: 256}}", "most_batch"),
        ("stages: {grid: {batch: 256}}", "most_batch"),
        ("stages: {dataset: {resolution: 8192}}", "largest_resolution"),
        ("stages: {grid: {size: 512x4096}}", "largest_resolution"),
        (f"stages: {{more: {{{SHORT}, matrix: {{seed: {list(range(200))}}}}}}}", "most_stages"),
    ],
)
def test_what_is_too_much_is_refused_and_the_setting_named(folder: Path, text: str, setting: str) -> None:
    error = refused(folder, text)
    assert f"--set watch.{setting}=N" in str(error) and "Traceback" not in str(error)
    assert made(folder, text, **{setting: 10**12})


def test_what_the_owners_pipeline_asks_for_is_never_too_much(folder: Path) -> None:
    assert made(folder, "vars: {trigger: pny}", "lora.steps=500000", "lora.batch=128", "lora.adapter.rank=700")
    assert "most_steps" in str(
        refused(folder, "vars: {trigger: a}\nstages: {lora: {steps: 500001}}", "lora.steps=500000")
    )


def test_the_name_of_a_folder_asks_for_no_more_than_settings_may(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "inbox" / "9999_penny", 5)
    order = order_of(folder)
    assert write(InboxPipeline(None, (), WatchSettings(least=3)), order), "such repeats are not used"
    inner = photographs(tmp_path / "inbox" / "penny" / "9999_penny", 5).parent
    assert write(InboxPipeline(None, (), WatchSettings(least=3)), order_of(inner)), "nor is an epoch of them trained"
    with pytest.raises(InputError, match="most_steps"):
        write(InboxPipeline(None, ("lora.steps=10 epochs",), WatchSettings(least=3)), order_of(inner))


def test_settings_of_a_hundred_kilobytes_are_not_a_persons(folder: Path) -> None:
    error = refused(folder, "vars: {}\n" + "# a line of it\n" * 10_000)
    assert "it has more than 100 kB" in str(error) and "watch.largest_settings" in str(error)


# ---------------------------------------------------------------------------------------------------------- where it is read

SLOW = """\
import time
from dataclasses import dataclass
from lorapipe.pipeline.artifacts import File
from lorapipe.spec import param
from lorapipe.stages import Stage

@dataclass(frozen=True)
class Slow(Stage):
    makes = File
    how: str = param("", "how it takes its time")
    def problems(self):
        if self.how == "computes":
            while True: pass
        if self.how == "waits":
            time.sleep(600)
        if self.how == "grows":
            held = []
            while True: held.append(bytearray(50_000_000))
        if self.how == "ends":
            raise SystemExit("gone")
        return ()
    def run(self, context):
        raise NotImplementedError
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with a stage whose check never ends, in several ways."""
    package = tmp_path / "package"
    (package / "slow-1.0.dist-info").mkdir(parents=True)
    (package / "slow.py").write_text(SLOW, encoding="utf-8")
    (package / "slow-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (package / "slow-1.0.dist-info" / "entry_points.txt").write_text("[lorapipe.stages]\nslow = slow:Slow\n")
    monkeypatch.syspath_prepend(str(package))
    registry._entry_points.cache_clear()
    yield
    registry._entry_points.cache_clear()


@pytest.mark.parametrize("how", ["computes", "waits", "grows", "ends"])
def test_whatever_settings_do_to_their_reader_it_ends_and_is_said(folder: Path, slow: None, how: str) -> None:
    if how == "grows" and sys.platform != "linux":
        pytest.skip("this system limits no memory")
    (folder / "lorapipe.yaml").write_text(f"stages: {{slow: {{uses: slow, how: {how}}}}}", encoding="utf-8")
    with pytest.raises(InputError, match=r"to read|cannot be read") as caught:
        check_apart(InboxPipeline(None, (), WatchSettings(least=3, reading_seconds=1.0)), order_of(folder))
    assert str(folder / "lorapipe.yaml") in str(caught.value)


def test_mistakes_are_told_as_they_are_where_they_stand(folder: Path) -> None:
    recipe, order = InboxPipeline(None, (), WatchSettings(least=3)), order_of(folder)
    (folder / "lorapipe.yaml").write_text("stages:\n  lora: {sede: 4}\n  grid: {cfg: -1}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        check_apart(recipe, order)
    assert [problem.where.partition("yaml:")[2] for problem in caught.value.problems] == [
        "2:10 lora.sede",
        "3:10 grid.cfg",
    ]
    assert "Did you mean 'seed'?" in str(caught.value)
    (folder / "lorapipe.yaml").write_text("vars: {steps: 50}\n", encoding="utf-8")
    check_apart(recipe, order)


def test_an_honest_folder_does_not_wait_for_it(folder: Path) -> None:
    (folder / "lorapipe.yaml").write_text("vars: {steps: 50}\n", encoding="utf-8")
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    check_apart(InboxPipeline(None, (), WatchSettings(least=3)), order_of(folder))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
