"""Writes the generated files: schemas, help pages of the nodes, docs/reference, tables in docs.

    python tools/generate.py

tests/test_docs.py checks that the files are current.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.settings_search import SettingMatch

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MADE = "<!-- Written by tools/generate.py. -->"
GLOSSARY = ROOT / "docs" / "glossary.md"
IMPORTS = ("<!-- import table: tools/generate.py -->\n", "<!-- end of the import table -->\n")
IMPORT = ROOT / "docs" / "import.md"
REQUIREMENTS = ROOT / "comfy_nodes" / "requirements.txt"
OPTIONS = ("<!-- import options: tools/generate.py -->\n", "<!-- end of the import options -->\n")
FLAGS = ("<!-- kohya's flags: tools/generate.py -->\n", "<!-- end of kohya's flags -->\n")
"""Markers around a generated table in a hand-written page."""


def shown(*words: str) -> str:
    """Return the output of `lorapipe show WORDS`."""
    from lorapipe.cli import main

    text = io.StringIO()
    with redirect_stdout(text):
        code = main(["show", *words])
    assert code == 0, words
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def kinds() -> dict[str, list[str]]:
    """Return every registry's kind and names, as `lorapipe show` lists them."""
    rows = (line.split() for line in shown().splitlines() if line.startswith("  "))
    return {kind: names for kind, *names in rows if kind}


def groups() -> set[str]:
    """Return the groups of settings, such as `noise`."""
    pages = "".join(shown("stage", name) for name in kinds()["stage"])
    return set(re.findall(r"^ *(\w+): settings of its own", pages, re.MULTILINE))


def reference_pages() -> dict[Path, str]:
    """Return a page for each kind with the output of `lorapipe show KIND NAME`, and an index."""
    found = kinds()
    pages = {REFERENCE / f"{kind}.md": _page(kind, names) for kind, names in found.items()}
    rows = "".join(
        f"| [{kind}]({kind}.md) | {', '.join(f'`{name}`' for name in names)} |\n" for kind, names in found.items()
    )
    head = "# Everything that can be chosen\n\nThe same as `lorapipe show` prints, with every setting of every one.\n\n"
    head_of_watch = f"{MADE}\n# watch\n\nSettings of an inbox: `lorapipe watch INBOX --set watch.NAME=VALUE`."
    watch = f"{head_of_watch}\n\n```text\n{shown('watch')}```\n"
    rows += "| [watch](watch.md) | settings of an inbox |\n"
    index = f"{MADE}\n{head}| kind | names |\n|---|---|\n{rows}"
    return {REFERENCE / "README.md": index, REFERENCE / "watch.md": watch} | pages


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _page(kind: str, names: list[str]) -> str:
    what = shown(kind).partition("\n")[0].partition(": ")[2]
    sections = (f"## {name}\n\n```text\n{shown(kind, name)}```\n" for name in names)
    return "\n".join([MADE, f"# {kind}\n", f"{what}\n", *sections])


def import_table() -> str:
    """Return the table of tests/contracts/test_imports.py as Markdown."""
    for folder in (ROOT / "tests" / "contracts", ROOT / "tests"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    import test_imports

    groups = {
        name.lower(): value
        for name, value in vars(test_imports).items()
        if name.isupper()
        and isinstance(value, tuple)
        and all(each.lstrip("=").startswith("lorapipe") for each in value)
    }
    groups = dict(sorted(groups.items(), key=lambda pair: -len(pair[1])))
    lines = ["| module or package | may import |", "|---|---|"]
    lines += [
        f"| `{row}` | {_allowed(allowed, groups) or 'nothing of ours'} |" for row, allowed in test_imports.TABLE.items()
    ]
    used = {name for name in groups if any(f"*{name}*" in line for line in lines)}
    while more := {name for name in groups if any(f"*{name}*" in _members(each, groups) for each in used)} - used:
        used |= more
    legend = [f"*{name}*: {_members(name, groups)}." for name in groups if name in used]
    return "\n".join([*lines, "", *legend, ""])


def _members(name: str, groups: Mapping[str, tuple[str, ...]]) -> str:
    return _allowed(groups[name], {other: value for other, value in groups.items() if other != name})


def _allowed(names: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]) -> str:
    left, words = list(dict.fromkeys(names)), []
    for group, members in groups.items():
        if len(members) > 1 and set(members) <= set(left):
            left = [name for name in left if name not in members]
            words.append(f"*{group}*")
    return ", ".join([*(_module(name) for name in left), *words])


def _module(name: str) -> str:
    short = name.lstrip("=").removeprefix("lorapipe.")
    return f"the contract of `{short}`" if name.startswith("=") else f"`{short}`"


def flag_table() -> str:
    """Return the table of kohya's flags and our settings, from the specs, and of flags that need no setting."""
    from lorapipe.kohya_flags import SYNONYMS, WITHOUT_SETTING
    from lorapipe.settings_search import all_settings

    settings: dict[str, set[str]] = {}
    for place in all_settings():
        for flag in place.knob.param.kohya:
            settings.setdefault(flag, set()).add(_written(place))
    lines = ["| kohya | here |", "|---|---|"]
    lines += [f"| `{flag}` | {', '.join(sorted(found))} |" for flag, found in sorted(settings.items())]
    known = {**WITHOUT_SETTING, **{name: WITHOUT_SETTING[same] for name, same in SYNONYMS.items()}}
    lines += ["", "Flags without a setting of their own:", "", "| kohya | instead |", "|---|---|"]
    lines += [f"| `{flag}` | {words} |" for flag, words in sorted(known.items())]
    return "\n".join([*lines, ""])


def option_table() -> str:
    """Return the table of kohya's options and what `lorapipe import` makes of each."""
    from lorapipe.config_import.option_table import ROWS

    lines = ["| kohya's option | outcome | becomes, or why not |", "|---|---|---|"]
    lines += [f"| `{name}` | {row.kind} | {row.becomes} |" for name, row in sorted(ROWS.items())]
    return "\n".join([*lines, ""])


def _written(place: SettingMatch) -> str:
    """Return the place of a setting in a document: in a stage, or in something that is chosen there."""
    return f"`{place.path}` of {place.owner}" if place.kind == "stage" else f"`{place.kind}.{place.path}`"


def with_table(text: str, between: tuple[str, str], table: str) -> str:
    """Return a page with the table between two markers replaced."""
    start, end = between
    assert start in text and end in text, start
    return re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _: f"{start}\n{table}\n{end}", text, flags=re.DOTALL)


def documents() -> Iterator[tuple[Path, str]]:
    """Yield each generated file and its text."""
    from lorapipe.starting_settings import bootstrap_pipeline

    yield ROOT / "pipelines" / "bootstrap.yaml", bootstrap_pipeline.example()
    yield from reference_pages().items()
    yield ARCHITECTURE, with_table(ARCHITECTURE.read_text(encoding="utf-8"), IMPORTS, import_table())
    yield IMPORT, with_table(IMPORT.read_text(encoding="utf-8"), OPTIONS, option_table())
    yield REQUIREMENTS, requirements()
    yield GLOSSARY, with_table(GLOSSARY.read_text(encoding="utf-8"), FLAGS, flag_table())


def requirements() -> str:
    """Return what ComfyUI-Manager installs for the nodes: lorapipe's dependencies, except torch, which ComfyUI has."""
    import tomllib

    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {each for each in about["project"]["dependencies"] if not re.match(r"torch\b(?!-)", each)}
    head = (
        "# Written by tools/generate.py. Without torch, which ComfyUI has and which stays as it is: see install.py.\n"
    )
    return head + "".join(f"{each}\n" for each in sorted(needed, key=str.lower))


def write() -> None:
    """Write all files, and delete pages of kinds that no longer exist."""
    from lorapipe.cli import main

    assert main(["schema", "--write"]) == 0
    made = dict(documents())
    REFERENCE.mkdir(exist_ok=True)
    for file in {*REFERENCE.glob("*.md")} - made.keys():
        file.unlink()
    for file, text in made.items():
        file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write()
