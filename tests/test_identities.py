"""Stored results and graphs are still read after packages, files, classes, knobs and fields were renamed."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Annotated

import pytest

from lorapipe import registry as registries
from lorapipe.pipeline import artifact_json, artifacts, events
from lorapipe.pipeline.artifacts import Artifact, StoredName
from lorapipe.registry import Registry, _modules_of
from lorapipe.spec import Spec, content, from_dict, param, to_dict
from lorapipe.spec.schema import json_schema

CONTRACT = """
from lorapipe.spec import Spec
class Pet(Spec, contract="type"): ...
"""
DOG = """
from dataclasses import dataclass
from {package} import Pet
from lorapipe.spec import param
@dataclass(frozen=True)
class Dog(Pet):
    legs: int = param(4, "how many", ge=0)
"""
HOUND = """
from dataclasses import dataclass
from {package} import Pet
from lorapipe.spec import param
@dataclass(frozen=True)
class Hound(Pet):
    feet: int = param(4, "how many", ge=0, key="legs")
"""


def _nothing(value: object) -> object:
    return value


def _kinds(base: type[Artifact]) -> list[type[Artifact]]:
    return [kind for each in base.__subclasses__() for kind in (each, *_kinds(each))]


@dataclasses.dataclass(frozen=True)
class Kennel(Artifact, stored_name="Kennel"):
    """An artifact as in an earlier release."""

    path: Path
    dog: Spec
    dogs: int = 1


@dataclasses.dataclass(frozen=True)
class House(Artifact, stored_name="House"):
    """The same artifact under other names, with a new field."""

    file: Annotated[Path, StoredName("path")]
    animal: Annotated[Spec, StoredName("dog")]
    animals: Annotated[int, StoredName("dogs")] = 1
    garden: Path | None = None


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a registry package as in one release, and return its contract; the previous one is unloaded."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def release(package: str, file: str, text: str, contract: str = CONTRACT) -> type[Spec]:
        _forget()
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.py"):
            old.unlink()
        (folder / "__init__.py").write_text(contract)
        (folder / f"{file}.py").write_text(text.format(package=package))
        importlib.invalidate_caches()
        return importlib.import_module(package).Pet

    yield release
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pets", "animals")]:
        del sys.modules[name]
    for known in ("pets", "animals"):
        Registry._by_id.pop(known, None)
    _modules_of.cache_clear()


def test_a_package_that_moves_keeps_its_id_keys_and_stored_results(pets, tmp_path, monkeypatch) -> None:
    dog = pets("pets", "dog", DOG).registry.get("dog")(legs=3)
    kennel = Kennel(tmp_path / "store" / "x", dog)
    stored, key = artifact_json.encode(kennel, tmp_path / "store"), artifact_json.content(kennel, str)
    monkeypatch.setitem(registries.MOVED, "pets", "animals")
    moved = pets("animals", "dog", DOG)
    assert moved.registry.package == "animals" and moved.registry.id == "pets"
    again = artifact_json.decode(stored, tmp_path / "store")
    assert isinstance(again, Kennel) and type(again.dog) is moved.registry.get("dog") and again.dog.legs == 3
    assert artifact_json.encode(again, tmp_path / "store") == stored
    assert artifact_json.content(again, str) == key


def test_a_moved_package_is_found_though_nothing_has_imported_it(pets, tmp_path, monkeypatch) -> None:
    dog = pets("pets", "dog", DOG).registry.get("dog")()
    stored = artifact_json.encode(Kennel(tmp_path / "x", dog), tmp_path)
    monkeypatch.setitem(registries.MOVED, "pets", "animals")
    pets("animals", "dog", DOG)
    _forget()
    again = artifact_json.decode(stored, tmp_path)
    assert isinstance(again, Kennel) and type(again.dog).__module__ == "animals.dog"


def test_other_packages_entry_points_still_name_the_old_group(pets, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(registries.MOVED, "lorapipe.pets", "animals")
    (tmp_path / "mine-1.0.dist-info").mkdir()
    (tmp_path / "mine-1.0.dist-info" / "entry_points.txt").write_text("[lorapipe.pets]\ncat = animals.dog:Dog\n")
    registries._entry_points.cache_clear()
    try:
        moved = pets("animals", "dog", DOG)
        assert moved.registry.get("cat").__name__ == "Dog"
    finally:
        registries._entry_points.cache_clear()


def test_a_renamed_file_and_a_renamed_knob_keep_their_keys(pets) -> None:
    dog = pets("pets", "dog", DOG).registry.get("dog")(legs=3)
    before = content(dog, _nothing), content(dog, _nothing, defaults=True), to_dict(dog)
    renamed = pets("pets", "hound", HOUND, CONTRACT + 'RENAMED = {"dog": "hound"}\n')
    hound = renamed.registry.get("hound")(feet=3)
    assert (content(hound, _nothing), content(hound, _nothing, defaults=True)) == before[:2]
    assert to_dict(hound) == {"type": "hound", "feet": 3}
    assert from_dict(renamed, before[2]) == hound
    assert "legs" in str(json_schema(type(hound)))


def test_a_renamed_artifact_with_renamed_fields_keeps_its_key_and_reads_what_was_stored(pets, tmp_path, monkeypatch):
    dog = pets("pets", "dog", DOG).registry.get("dog")(legs=3)
    kennel = Kennel(tmp_path / "x", dog, 2)
    stored, key = artifact_json.encode(kennel, tmp_path), artifact_json.content(kennel, str)
    monkeypatch.setattr(Kennel, "stored_name", "(gone)")
    monkeypatch.setattr(House, "stored_name", "Kennel")
    artifacts.class_of.cache_clear()
    house = House(tmp_path / "x", dog, 2)
    assert artifact_json.decode(stored, tmp_path) == house
    assert artifact_json.decode(stored, tmp_path, [house]) is house
    assert artifact_json.content(house, str) == key
    artifacts.class_of.cache_clear()


def test_a_renamed_group_of_settings_keeps_its_node() -> None:
    class Leash(Spec):
        length: int = param(1, "metres")

    class Lead(Spec, stored_name="Leash"):
        length: int = param(1, "metres")

    assert Leash.stored_name == Lead.stored_name == "Leash"


def test_every_artifact_of_ours_says_what_it_is_stored_as() -> None:
    stored = {kind.stored_name: kind for kind in _kinds(Artifact) if kind.__module__.startswith("lorapipe.")}
    assert {"Dataset", "Snapshot", "Weights", "Report", "File"} <= stored.keys()


def test_every_event_has_a_name_of_its_own() -> None:
    assert set(events.KINDS.values()) == set(events.Event.__subclasses__())
    assert set(events.KINDS) == {
        "planned", "started", "progress", "metric", "preview", "log", "asked", "reused", "finished", "failed",
    }  # fmt: skip


@pytest.mark.parametrize("id", registries.MOVED)
def test_what_has_moved_is_where_it_is_said_to_be(id: str) -> None:
    assert Registry.of_id(id).package == registries.MOVED[id]


KNOWN = (
    "lorapipe.stages", "lorapipe.training.adapters", "lorapipe.training.families", "lorapipe.training.losses",
    "lorapipe.training.optimizers", "lorapipe.training.schedulers", "lorapipe.training.weightings",
    "lorapipe.pipeline.launchers",
)  # fmt: skip


@pytest.mark.parametrize("id", KNOWN)
def test_other_packages_and_stored_results_know_these_registries(id: str) -> None:
    assert Registry.of_id(id).id == id
