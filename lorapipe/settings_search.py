"""Search for settings by name, by kohya's flag, or by words of their help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lorapipe import settings_reference
from lorapipe.errors import InputError, near_miss
from lorapipe.kohya_flags import SYNONYMS, WITHOUT_SETTING
from lorapipe.pipeline.contracts import contracts
from lorapipe.spec import Knob, Spec, knobs, registry_of

MOST = 12
"""Most results of a search for words that are listed."""


@dataclass(frozen=True)
class SettingMatch:
    """A setting with its owner and dotted path: `train`, `noise.offset`; or `lora`, `rank` for an adapter's."""

    kind: str
    owner: str
    path: str
    knob: Knob

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the setting: here, in kohya's sd-scripts, and in earlier releases."""
        return (self.knob.name, self.path, *self.knob.param.kohya, *self.knob.param.aliases)

    @property
    def text(self) -> str:
        """The searchable words."""
        return " ".join([self.path, *self.knob.param.kohya, self.knob.param.help]).casefold().replace("-", " ")


def search(word: str) -> str:
    """Explain a word: a registered name, a setting, a kohya flag; or else the settings whose help has all its words.

    `InputError`, with the most similar name, if nothing is found.
    """
    sought = re.sub(r"[\s-]+", "_", word.strip().lstrip("-")).casefold()
    settings = list(all_settings())
    if parts := _exact(sought, settings):
        return "\n\n".join(parts)
    words = sought.split("_")
    hits = _grouped(match for match in settings if all(each in match.text for each in words))
    if not hits:
        cure = _nearest(sought, sorted(_known_words(settings)))
        raise InputError(f"there is nothing called {word!r} to choose.", cure=cure)
    more = [f"… and {len(hits) - MOST} more; another word would help."] if len(hits) > MOST else []
    return "\n\n".join([*map(_entry, hits[:MOST]), *more])


def all_settings() -> Iterator[SettingMatch]:
    """Yield every setting that a pipeline can have."""
    for kind, name in _choices():
        for path, knob in _within(registry_of(contracts()[kind]).get(name)):
            yield SettingMatch(kind, name, path, knob)


def _choices() -> Iterator[tuple[str, str]]:
    """Yield every registered name with its kind: `adapter`, `lora`."""
    for kind, contract in contracts().items():
        yield from ((kind, name) for name in registry_of(contract).names())


def _within(cls: type[Spec]) -> Iterator[tuple[str, Knob]]:
    for knob in knobs(cls):
        yield knob.name, knob
        if group := knob.shape.group:
            yield from ((f"{knob.name}.{path}", inner) for path, inner in _within(group))


def _exact(sought: str, settings: Sequence[SettingMatch]) -> list[str]:
    """Return explanations of everything with exactly this name."""
    parts = [settings_reference.of_name(kind, name) for kind, name in _choices() if _is_called(kind, name, sought)]
    parts += map(_entry, _grouped(match for match in settings if sought in match.names))
    if instead := WITHOUT_SETTING.get(SYNONYMS.get(sought, sought)):
        parts.append(f"kohya's {sought}\n  {instead}")
    return parts


def _is_called(kind: str, name: str, sought: str) -> bool:
    """Whether it has this name, or is an adapter that users know by this name."""
    words = registry_of(contracts()[kind]).get(name).search_words if kind == "adapter" else ()
    return sought == name or any(sought == re.sub(r"[\s-]+", "_", each) for each in words)


def _known_words(settings: Iterable[SettingMatch]) -> set[str]:
    """Return all names that `search` finds."""
    named = {name for match in settings for name in (match.knob.name, *match.knob.param.kohya)}
    return named | {*(name for _, name in _choices()), *WITHOUT_SETTING, *SYNONYMS, *contracts()}


def _grouped(found: Iterable[SettingMatch]) -> list[list[SettingMatch]]:
    """Group equal settings of several owners."""
    groups: dict[tuple[str, str, str], list[SettingMatch]] = {}
    for match in found:
        groups.setdefault((match.kind, match.path, match.knob.param.help), []).append(match)
    return list(groups.values())


def _entry(group: list[SettingMatch]) -> str:
    first = group[0]
    owners = ", ".join(match.owner for match in group)
    return "\n".join([f"{first.kind} {owners}", *settings_reference.setting(first.knob, "  ", first.path)])


def _nearest(word: str, known: list[str]) -> str:
    """Return a cure with only the most similar name: a list of all names would fill a page."""
    cure = near_miss(word, known)
    return cure if cure.startswith("Did") else "`lorapipe show` lists all that can be chosen."
