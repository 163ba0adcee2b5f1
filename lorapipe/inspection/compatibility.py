"""Compatibility of adapter files with other programs, and the settings that would help: warnings of `export`."""

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
    """A program that reads a file wrongly. `is_silent`: it loads the file without an error."""

    program: str
    what: str
    cure: str
    is_silent: bool

    def __str__(self) -> str:
        return f"{self.program}: {self.what}. {self.cure}".strip()


def misreadings(path: Path) -> Iterator[Misreading]:
    """Yield the known programs that read a file wrongly, with the figures of `lorapipe inspect --for`."""
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
    """Yield every program's objection to modules that are not trained yet; nothing if one reads them. Without torch."""
    found = []
    for reader in _readers():
        if not (what := _objection(reader, modules, keys)):
            return
        found.append(Misreading(reader.title, what, _cure(reader, modules), is_silent=True))
    yield from found


def _readers() -> list[Reader]:
    return [Reader.registry.get(name)() for name in Reader.registry.names()]


def _objection(reader: Reader, modules: Modules, keys: Sequence[str] | None = None) -> str:
    """Return why a program reads modules wrongly; empty if it does not."""
    all_keys = [key for module in modules for key in module.keys] if keys is None else keys
    if why := reader.refusal(modules, all_keys):
        return f"refuses the file: {why}"
    return next((why for module in modules if (why := reader.reason(module) or reader.misreads(module))), "")


# ---------------------------------------------------------------------------------------------------------------- cures


def _cure(reader: Reader, modules: Modules) -> str:
    """Return a cure: the settings with which the program would read the modules, tested by its rules."""
    found = [words for words, changed in _forms(modules) if not _objection(reader, changed)]
    return f"It is read rightly with {' or '.join(found)}." if found else ""


def _forms(modules: Modules) -> Iterator[tuple[str, Modules]]:
    """Yield settings with the modules that they would give, the cheapest first."""
    kohya = [*map(_kohya, modules)]
    too = "" if all(module.name.style == "kohya" for module in modules) else "format: kohya and "
    if too:
        yield "format: kohya", kohya
    if any(module.of_outputs for module in modules):
        yield f"{too}dora_axis: input in the training", [replace(each, of_outputs=False) for each in kohya]
    yield f"{too}convert: diff", [_as("full", {"diff"}, each) for each in kohya]
    yield f"{too}convert: lora", [_as("lora", {"down", "up"}, each) for each in kohya]


def _kohya(module: ReadModule) -> ReadModule:
    """Return a module under its name in kohya's format."""
    path = module.name.path.replace(".", "_")
    if module.name.part != DENOISER and not path.startswith("text_model"):
        path = f"text_model_{path}"
    keys = tuple(f"lora_unet_{path}.{module.algorithm.keys[short]}" for short in module.shorts)
    return replace(module, name=replace(module.name, style="kohya", path=path), keys=keys, alpha=module.alpha or 0.0)


def _as(algorithm: str, shorts: Collection[str], module: ReadModule) -> ReadModule:
    """Return a module in another form; one of a normalisation is unchanged."""
    if module.algorithm.name == "norm":
        return module
    changed = replace(module, algorithm=Algorithm.of(algorithm), shorts=frozenset(shorts), of_outputs=False)
    return _kohya(changed)
