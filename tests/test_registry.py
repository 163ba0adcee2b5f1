"""Registries: a file in the package's folder is a registered name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from lorapipe.errors import InputError
from lorapipe.registry import Registry, _modules_of
from lorapipe.stages import Stage

CONTRACT = """
from lorapipe.spec import Spec
class Pet(Spec, contract="type"): ...
"""
DOG = """
from dataclasses import dataclass
from pets import Pet
from lorapipe.spec import param
@dataclass(frozen=True)
class Loud(Pet):
    noise: str = param("bark", "what it says")
@dataclass(frozen=True)
class Dog(Loud):
    legs: int = param(4, "how many", ge=0)
"""


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A registry package with one file, as a contributor writes it."""
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "__init__.py").write_text(CONTRACT)
    (folder / "dog.py").write_text(DOG)
    monkeypatch.syspath_prepend(str(tmp_path))
    _modules_of.cache_clear()
    yield importlib.import_module("pets").Pet
    for name in [name for name in sys.modules if name.partition(".")[0] == "pets"]:
        del sys.modules[name]
    _modules_of.cache_clear()


def test_a_file_is_registered_by_being_there(pets) -> None:
    assert pets.registry.names() == ["dog"]
    assert "dog" in pets.registry and "cat" not in pets.registry
    assert pets.registry.get("dog")().legs == 4
    assert pets.registry.kind == "pet"


def test_listing_imports_nothing(pets) -> None:
    pets.registry.names()
    assert "pets.dog" not in sys.modules


def test_a_class_knows_its_name(pets) -> None:
    assert pets.registry.get("dog")().name == "dog"


def test_a_base_class_of_the_same_file_is_not_the_implementation(pets) -> None:
    assert pets.registry.get("dog").__name__ == "Dog"


def test_an_unknown_name_is_the_users_mistake_with_the_near_miss(pets) -> None:
    with pytest.raises(InputError, match=r"there is no pet 'dgo'. Did you mean 'dog'\?"):
        pets.registry.get("dgo")


def test_a_file_without_an_implementation_is_a_programmers_mistake(pets, tmp_path: Path) -> None:
    (tmp_path / "pets" / "empty.py").write_text("x = 1\n")
    _modules_of.cache_clear()
    with pytest.raises(TypeError, match="must define one Pet, not 0"):
        pets.registry.get("empty")


def test_another_package_adds_names_by_entry_points(toys: None) -> None:
    registry: Registry[Stage] = Stage.registry
    assert {"words", "count"} <= set(registry.names())
    assert registry.get("count").__name__ == "Count"
    assert registry.name_of(registry.get("count")) == "count"
