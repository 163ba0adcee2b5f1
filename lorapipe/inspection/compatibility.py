"""What programs will not make of a file what it means, and what would be read rightly in its place: for `export`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorapipe.formats.algorithms import Algorithm
from lorapipe.inspection import _report
from lorapipe.inspection._module_names import DENOISER
from lorapipe.inspection._text import remarks
from lorapipe.inspection.readers import Reader, ReadModule

Modules = Sequence[ReadModule]


@dataclass(frozen=True)
class Misreading:
    """A program and what it makes of a file. `is_silent`: it loads the file, and nobody is told."""

    program: str
    what: str
    cure: str
    is_silent: bool

    def __str__(self) -> str:
        return f"{self.program}: {self.what}. {self.cure}".strip()


def misreadings(path: Path) -> Iterator[Misreading]:
    """What each program that is known does not make of a file what it means, by `lorapipe inspect --for`'s figures."""
    from lorapipe.inspection._comparison import read_modules, readings

    found = _report.inspected(path)
    modules = read_modules(found)
    if found.report.kind != "adapter" or found.report.problems or not modules:
        return
    for reading in readings(found, Reader.registry.names()):
        reader = Reader.registry.get(reading.reader)()
        if reading.refused or reading.ignored or reading.differences:
            said = [*dict.fromkeys(filter(None, map(reader.misreads, modules)))] if reading.loaded else []
            figures = remarks(replace(reading, words=""))
            what = "; ".join([*figures, *(f"it {each}" for each in said)])
            yield Misreading(reading.title, what, _cure(reader, modules), is_silent=reading.loaded > 0)


def unread(modules: Modules, keys: Sequence[str]) -> Iterator[Misreading]:
    """What no program reads rightly of modules that are still to be trained; empty where one does. Without torch."""
    found = []
    for reader in _readers():
        if not (what := _objection(reader, modules, keys)):
            return
        found.append(Misreading(reader.title, what, _cure(reader, modules), is_silent=True))
    yield from found


def _readers() -> list[Reader]:
    return [Reader.registry.get(name)() for name in Reader.registry.names()]


def _objection(reader: Reader, modules: Modules, keys: Sequence[str] | None = None) -> str:
    """Why a program does not make of modules what they mean; empty where it does."""
    all_keys = [key for module in modules for key in module.keys] if keys is None else keys
    if why := reader.refusal(modules, all_keys):
        return f"refuses the file: {why}"
    return next((why for module in modules if (why := reader.ignores(module) or reader.misreads(module))), "")


# ------------------------------------------------------------------------------------------------- what would be right


def _cure(reader: Reader, modules: Modules) -> str:
    """The settings with which a program would read it, each tried by its rules."""
    found = [words for words, changed in _forms(modules) if not _objection(reader, changed)]
    return f"It is read rightly with {' or '.join(found)}." if found else ""


def _forms(modules: Modules) -> Iterator[tuple[str, Modules]]:
    """Settings, and what they would make of the modules; from the cheapest."""
    kohya = [*map(_kohya, modules)]
    too = "" if all(module.name.style == "kohya" for module in modules) else "format: kohya and "
    if too:
        yield "format: kohya", kohya
    if any(module.of_outputs for module in modules):
        yield f"{too}dora_axis: input in the training", [replace(each, of_outputs=False) for each in kohya]
    yield f"{too}convert: diff", [_as("full", {"diff"}, each) for each in kohya]
    yield f"{too}convert: lora", [_as("lora", {"down", "up"}, each) for each in kohya]


def _kohya(module: ReadModule) -> ReadModule:
    """A module as it is called in kohya's format."""
    path = module.name.path.replace(".", "_")
    if module.name.part != DENOISER and not path.startswith("text_model"):
        path = f"text_model_{path}"
    keys = tuple(f"lora_unet_{path}.{module.algorithm.keys[short]}" for short in module.shorts)
    return replace(module, name=replace(module.name, style="kohya", path=path), keys=keys, alpha=module.alpha or 0.0)


def _as(algorithm: str, shorts: Collection[str], module: ReadModule) -> ReadModule:
    """A module in another form; a normalisation's stays as it is."""
    if module.algorithm.name == "norm":
        return module
    changed = replace(module, algorithm=Algorithm.of(algorithm), shorts=frozenset(shorts), of_outputs=False)
    return _kohya(changed)
