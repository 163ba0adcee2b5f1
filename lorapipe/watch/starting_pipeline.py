"""The pipeline of an inbox for a folder: what `lorapipe new` writes for it, in a file that the job's pipeline extends.

What `new` asks for comes from the inbox's settings (`watch.subject`, `watch.vram` …), or from the folder's own
`lorapipe.yaml` (`lora.subject`, `lora.difficulty`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

from lorapipe import pocket
from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.models import Checkpoint, Family
from lorapipe.regular_files import is_inside
from lorapipe.spec import registry_of
from lorapipe.starting_settings.base_facts import base_of
from lorapipe.starting_settings.caption_facts import CaptionFacts
from lorapipe.starting_settings.choices import Choices
from lorapipe.starting_settings.document import text_of
from lorapipe.starting_settings.drafts import PipelineDraft, Setting, StageDraft, literal
from lorapipe.starting_settings.folder_facts import FolderFacts
from lorapipe.starting_settings.picture_facts import PictureFacts
from lorapipe.starting_settings.stage_drafts import FEW_EPOCHS, draft
from lorapipe.starting_settings.wishes import Wishes
from lorapipe.training.subjects import Difficulty, Subject
from lorapipe.watch.settings import WatchSettings

FILE = "starting.yaml"
"""Its name, in the folder of the results."""
DATASET = "dataset"
"""The stage of all pictures, where subfolders are not balanced."""
TYPICAL = FolderFacts(
    Path(),
    {f"{number}.png": PictureFacts((1024, 1024), signature=bytes((200, 0, 0))) for number in range(30)},
    CaptionFacts(("",) * 30),
)
"""A folder to check an inbox's settings with, before one is dropped."""


@dataclass(frozen=True)
class InboxSettings:
    """What the owner of an inbox and a dropped folder's own file say: variables, and settings of stages by stage."""

    watching: WatchSettings
    variables: Mapping[str, object]
    """Those of both; the folder's own count."""
    stages: Mapping[str, Mapping[str, object]]
    """The same of stages."""
    own: Mapping[str, object]
    """The variables of the folder's own file."""

    def with_stage(self, name: str, settings: Mapping[str, object]) -> Self:
        """Return the same with more settings of a stage."""
        return replace(self, stages={**self.stages, name: {**settings, **self.stages.get(name, {})}})

    def wishes(self, trigger: str) -> Wishes:
        """Return what `lorapipe new` would be asked for."""
        said, watching = self.stages.get("lora", {}), self.watching
        subject: Any = said.get("subject")
        difficulty: Any = said.get("difficulty")
        return Wishes(
            subject=subject if subject in get_args(Subject) else watching.subject,
            difficulty=difficulty if difficulty in get_args(Difficulty) else watching.difficulty,
            quality=watching.quality,
            vram=watching.vram,
            aim=watching.aim,
            trigger=str(self.variables.get("trigger", trigger)),
        )

    def base(self, images: Path) -> Family:
        """Return the base: by its tensors, unless `vars.family` names the family.

        A path in a folder's own file is opened only if it is inside the folder; a base that is none is reported by the
        loader, with its place.
        """
        said = self.variables.get("checkpoint", "pocket")
        folder = images if "checkpoint" in self.own else Path.cwd()
        if "checkpoint" in self.own and not (is_inside(images / str(said), images) and (images / str(said)).exists()):
            said = "pocket"
        contract: Any = Family
        families = registry_of(contract)
        family = self.variables.get("family")
        checkpoint = Checkpoint(pocket.BASE) if said == "pocket" else Checkpoint(folder / str(said))
        if family not in families.names():
            try:
                return base_of(checkpoint)
            except (InputError, OSError):
                family = "sd15"
        found: Family = families.get(family)(checkpoint=checkpoint)
        return found


def write_starting_pipeline(
    target: Path, said: InboxSettings, facts: FolderFacts, trigger: str, name: str = "lora"
) -> str:
    """Write the pipeline of a folder of pictures to a file, and return what it says of the pictures in a line.

    `InputError` if no settings fit the memory of the inbox's card.
    """
    balance = DATASET not in said.stages
    choices = Choices(facts, said.wishes(trigger), said.base(facts.root), may_balance=balance)
    try:
        made = draft(choices, target.parent)
    except InputError as error:
        raise InputError(replace(each, where="--set watch.vram") for each in error.problems) from None
    made = _of_inbox(made, choices, said.watching, name)
    if "checkpoint" in said.own:
        made = made.with_variables(Setting("checkpoint", "pocket", "the folder's lorapipe.yaml names its base"))
    write_text(text_of(made, "lorapipe watch"), target)
    return made.title


def _of_inbox(made: PipelineDraft, choices: Choices, watching: WatchSettings, name: str) -> PipelineDraft:
    """Add what an inbox needs: variables for what it sets, and its least number of pictures."""
    training = next(stage for stage in made.stages if stage.uses == "train")
    checkpoint = next(each for each in made.variables if each.key == "checkpoint")
    made = made.with_variables(
        replace(checkpoint, why="comes with lorapipe; --set vars.checkpoint=FILE names another")
        if choices.is_pocket
        else checkpoint,
        Setting("trigger", literal(choices.trigger), "the folder's name, unless vars.trigger says it"),
        Setting("family", choices.base.name, "the base's, by its tensors, unless --set vars.family says it"),
        Setting("steps", training.plain()["steps"], choices.length()[1]),
        Setting("name", literal(name), "of the file; the inbox sets it"),
        Setting("folder", ".", "of the results; the inbox sets it"),
    )
    return replace(made, stages=tuple(_stage(stage, watching) for stage in made.stages))


def _stage(stage: StageDraft, watching: WatchSettings) -> StageDraft:
    if stage.uses == "prepare":
        stage = stage.with_setting(
            Setting("base", {"family": "${family}", "checkpoint": "${checkpoint}"}, "pictures are encoded with its VAE")
        )
        why = "watch.least: with fewer, the job fails"
        return stage if stage.name != DATASET else stage.with_setting(Setting("min_pictures", watching.least, why))
    if stage.uses == "train":
        snapshots = Setting("snapshots", FEW_EPOCHS, "evenly spaced, also where others set the steps")
        return stage.with_setting(Setting("steps", "${steps}", "see above")).with_setting(snapshots)
    if stage.uses == "export":
        return stage.with_setting(Setting("to", "${folder}/${name}.safetensors", "loads in ComfyUI, A1111 and Forge"))
    return stage
