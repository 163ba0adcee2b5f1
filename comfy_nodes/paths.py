"""The files and folders that a graph may use: ComfyUI's own, and those that its user has named. It imports no ComfyUI.

Anyone who can reach ComfyUI's page can send it a graph, so a graph may not use paths outside these folders. Symbolic links
inside them are followed, since only the machine's owner can have made them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lorapipe.errors import InputError, near_miss

from .node import PICTURES, Input

EXAMPLES = ("examples/penny", "examples/neon")
"""Two folders of pictures that lorapipe draws on first use."""
OUTPUT = "output/"
"""How the choices of picture folders below ComfyUI's output folder begin."""
CURE = "Put it below ComfyUI's input folder, or name its folder as lorapipe_pictures in extra_model_paths.yaml."
MOST_FOLDERS = 1000


@dataclass(frozen=True)
class GraphPaths:
    """The allowed paths. `project` has the store and written files; all paths must be below `readable` or `writable`."""

    project: Path
    input: Path
    output: Path
    pictures: tuple[Path, ...]
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    models: Mapping[str, Callable[[], list[str]]]
    model: Callable[[str, str], str | None]
    homes: Mapping[str, Path] = field(default_factory=dict)
    """The first of ComfyUI's folders for each kind of model."""

    def options(self, shelf: str) -> list[str]:
        """Return the choices of a shelf: picture folders, or the models of a kind."""
        if shelf != PICTURES:
            return self.models[shelf]() if shelf in self.models else []
        own = [
            name for folder in self.pictures for name in (folder.as_posix(), *_folders(folder, f"{folder.as_posix()}/"))
        ]
        made = [name for name in _folders(self.output, OUTPUT) if not self._is_of_project(name)]
        return [*_folders(self.input, ""), *own, *made, *EXAMPLES]

    def found(self, wanted: Input, text: str) -> str:
        """Resolve a text to an absolute path. `InputError` if it may not be used."""
        if wanted.path == "write":
            cure = "Write a name, or a path below ComfyUI's output folder."
            path = self._allowed(self.project, text, self.writable, cure)
            return f"{path}/" if text.endswith("/") else path
        shelf, words = (wanted.widget.shelf, wanted.widget.words) if wanted.widget else ("", ())
        if shelf == PICTURES and not (self.input / text).exists() and (made := self._made_here(text)) is not None:
            return made
        if shelf and shelf != PICTURES and (model := self.model(shelf, text)) is not None:
            return Path(model).as_posix()
        return self._on_shelf(text, shelf, words) if shelf else self._allowed(self.input, text, self.readable, CURE)

    def _made_here(self, text: str) -> str | None:
        """Return the path of an example, or of a folder below ComfyUI's output; None for others."""
        if text in EXAMPLES:
            return (self.project / text).as_posix()
        if text.startswith(OUTPUT):
            return self._allowed(self.output, text.removeprefix(OUTPUT), self.readable, CURE)
        return None

    def _is_of_project(self, name: str) -> bool:
        return (self.output / name.removeprefix(OUTPUT)).is_relative_to(self.project)

    def _on_shelf(self, text: str, shelf: str, words: Sequence[str]) -> str:
        """Resolve a shelf's choice to a path. If there is no such choice, the message names a similar one."""
        try:
            path = self._allowed(self.input, text, self.readable, self._cure(shelf))
        except InputError:
            self._refuse_unknown(text, shelf, words)
            raise
        if not Path(path).exists():
            self._refuse_unknown(text, shelf, words)
        return path

    def _allowed(self, start: Path, text: str, roots: tuple[Path, ...], cure: str) -> str:
        path = Path(os.path.abspath(start / Path(text).expanduser()))  # noqa: PTH100 (resolve() would follow links)
        if not any(path.is_relative_to(root) for root in roots):
            raise InputError(f"{text} may not be used from a graph.", cure=cure)
        return path.as_posix()

    def _refuse_unknown(self, text: str, shelf: str, words: Sequence[str]) -> None:
        known = [*words, *self.options(shelf)]
        if not Path(text).expanduser().is_absolute():
            alike = near_miss(text, known[:200])
            if shelf in self.homes:
                alike = " ".join(filter(None, [alike if alike.startswith("Did") else "", self._cure(shelf)]))
            raise InputError(f"there is no {text!r} here.", cure=alike or self._cure(shelf))

    def _cure(self, shelf: str) -> str:
        """Return where a file of a shelf belongs."""
        if shelf not in self.homes:
            return CURE
        return f"Put it into ComfyUI's folder for {shelf}, {self.homes[shelf]}, and refresh the page's lists with R."

    def draw_examples(self) -> None:
        """Draw the pictures of `EXAMPLES` into the project."""
        from lorapipe.pocket.examples import write_examples

        target = self.project / "examples"
        if not target.exists():
            part = self.project / f".examples-{os.getpid()}"
            write_examples(part)
            with suppress(OSError):  # another ComfyUI has drawn them meanwhile
                part.replace(target)


def _folders(folder: Path, prefix: str) -> list[str]:
    """Return the relative POSIX paths of all folders below one, without hidden ones."""
    found: list[str] = []
    for root, names, _ in os.walk(folder, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [prefix + Path(root, name).relative_to(folder).as_posix() for name in names]
        if len(found) > MOST_FOLDERS:
            break
    return sorted(found[:MOST_FOLDERS])


def state(path: Path) -> str:
    """Return a digest of the names, sizes and times of a file or folder, which changes with any edit."""
    lines = sorted(_seen(path)) if path.is_dir() else [_stat(path, "")]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()[:20]


def _seen(folder: Path) -> Iterator[str]:
    for root, names, files in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (_stat(Path(root, file), f"{root}/{file}") for file in files if not file.startswith("."))


def _stat(path: Path, name: str) -> str:
    try:
        seen = path.stat()
    except OSError as error:
        return f"{name} {error.strerror}"
    return f"{name} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}"
