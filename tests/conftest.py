"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lorapipe import registry
from lorapipe.job_queue.queue import Queue

if TYPE_CHECKING:
    import tiny
    from browsers import Browser

    from lorapipe.models import Model
    from lorapipe.models.sd15 import SD15
    from lorapipe.pipeline.artifacts import Dataset

TOYS = Path(__file__).parent / "toys"
PLUGINS = Path(__file__).parent / "plugins"
SLOW = (
    "test_adapters", "test_additions", "test_caption_augment", "test_data_parallel", "test_evaluate", "test_export",
    "test_families", "test_launchers", "test_optimizers", "test_pocket", "test_reference_runs", "test_resume",
    "test_sampler", "test_sampler_families", "test_sd15", "test_sd2", "test_sdxl", "test_seeded_runs", "test_train",
    "test_adapter_stages", "test_import_equivalence", "test_tag_effects", "test_weightings", "test_whole_pipeline",
)  # fmt: skip
"""Modules whose tests train, sample or start clusters, which take half of the time."""
MOST_WORKERS = 8
"""Each has PyTorch in its memory, and so have the processes that its tests start."""

if "PYTEST_XDIST_WORKER" in os.environ:  # before PyTorch is loaded, here and in processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of test processes, each with its own core; `-n0` runs all tests in this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0


def pytest_make_parametrize_id(val: object) -> str | None:
    """Return a function's or class's name as its id, which must be the same in every test process."""
    return getattr(val, "__name__", None) if callable(val) else None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --exhaustive."""
    parser.addoption("--exhaustive", action="store_true", help="all cases of tests that usually run one in n of theirs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow half, and leave out what `one_in` leaves to an exhaustive run."""
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)
    if not config.getoption("exhaustive"):
        left_out = {id(item) for item in cases_left_out(items)}
        config.hook.pytest_deselected(items=[item for item in items if id(item) in left_out])
        items[:] = [item for item in items if id(item) not in left_out]


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of garbage collection, a second each of which a search would cost."""
    gc.collect()
    gc.freeze()


def cases_left_out(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield all cases of a `one_in(n)` test but the first, the n-th after it, and so on: the same ones in every process."""
    places = Counter[str]()
    for item in items:
        if mark := item.get_closest_marker("one_in"):
            test = item.nodeid.partition("[")[0]
            if places[test] % mark.args[0]:
                yield item
            places[test] += 1


@pytest.fixture(autouse=True)
def own_devices(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the tests their own device locks, so that they and trainings on this machine do not wait for each other.

    Also their own queue, so that they do not change the user's.
    """
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(name, str(tmp_path_factory.getbasetemp() / "user-cache"))
    monkeypatch.setenv("LORAPIPE_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """An empty queue, which commands use too."""
    monkeypatch.setenv("LORAPIPE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    queue = Queue(tmp_path / "home")
    yield queue
    queue.close()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty inbox."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a test package within the block: on the path, with entry points."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    registry._entry_points.cache_clear()
    yield
    registry._entry_points.cache_clear()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The small stages of tests/toys."""
    with installed(TOYS, monkeypatch):
        yield


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The adapter of tests/plugins: one file that lorapipe does not mention."""
    with installed(PLUGINS, monkeypatch):
        yield


@pytest.fixture
def project(toys: None, tmp_path: Path) -> Path:
    """A folder with two texts and a pipeline that reads, counts and keeps them."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "one.txt").write_text("a b a", encoding="utf-8")
    (texts / "two.txt").write_text("c a", encoding="utf-8")
    pipeline = """\
vars:
  folder: texts
stages:
  text: {uses: words, folder: "${folder}"}
  tally:
    uses: count
    text: $text
    word: a
  kept: {uses: keep, tally: $tally, to: result.html}
"""
    (tmp_path / "cat.yaml").write_text(pipeline, encoding="utf-8")
    return tmp_path


@pytest.fixture
def shared_with(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project like `project`; both then share a store in `shared`."""
    monkeypatch.setenv("LORAPIPE_STORE", str(tmp_path / "shared"))
    other = tmp_path / "other"
    shutil.copytree(project / "texts", other / "texts")
    shutil.copy(project / "cat.yaml", other)
    return other


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the stages of a module's tests run."""
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    """Drawn pictures, prepared for a tiny base."""
    import tiny

    return tiny.dataset(folder)


@pytest.fixture
def bench(folder: Path) -> tiny.Bench:
    """A bench that runs stages as the engine does."""
    import tiny

    return tiny.Bench(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SD15:
    """A random base of half a million parameters."""
    from lorapipe.models.sd15 import SD15

    return SD15.tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base: SD15) -> Model:
    """The loaded base."""
    import tiny

    return base.load(tiny.DEVICE)


@pytest.fixture(autouse=True)
def model_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Detach adapters that a failed test has left in `model`, so that other tests do not fail."""
    if "model" not in request.fixturenames:
        yield
        return
    model: Model = request.getfixturevalue("model")
    before = [dict(model.part(part).named_modules()) for part in model.trainable]
    yield
    for modules in before:
        for path, module in modules.items():
            parent, _, child = path.rpartition(".")
            if path:
                setattr(modules[parent], child, module)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from browsers import Browser

    browser = Browser()
    yield browser
    browser.close()
