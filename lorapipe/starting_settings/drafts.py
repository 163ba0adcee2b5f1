"""A pipeline as it is drafted: stages and settings, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Setting:
    """A setting, its value in document form, and why it has this value."""

    key: str
    value: object
    why: str


@dataclass(frozen=True)
class StageDraft:
    """A stage: its name, its kind, what it is for, and its settings."""

    name: str
    uses: str
    why: str
    settings: tuple[Setting, ...]

    def with_setting(self, setting: Setting) -> StageDraft:
        """Return the stage with a setting in place of the one with its key, or at the end."""
        rest = [setting if each.key == setting.key else each for each in self.settings]
        return replace(self, settings=tuple(rest if setting in rest else [*rest, setting]))

    def plain(self) -> dict[str, object]:
        """Return the stage as a mapping of its settings."""
        return {"uses": self.uses, **{each.key: each.value for each in self.settings}}


@dataclass(frozen=True)
class PipelineDraft:
    """A pipeline: a title, notes for its user, variables, and stages in order."""

    title: str
    notes: tuple[str, ...]
    variables: tuple[Setting, ...]
    stages: tuple[StageDraft, ...]

    def with_variables(self, *variables: Setting) -> PipelineDraft:
        """Return the pipeline with variables in place of those of the same names, or at the end."""
        found = {each.key: each for each in (*self.variables, *variables)}
        return replace(self, variables=tuple(found.values()))


def literal(text: str) -> str:
    """Escape `${` in a text of the user's, which is no variable."""
    return text.replace("${", "$${")
