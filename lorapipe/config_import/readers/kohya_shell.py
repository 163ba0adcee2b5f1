"""Scripts that start kohya's sd-scripts: bash, batch files and PowerShell, or a command line alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from lorapipe.config_import.command_line import configuration_of
from lorapipe.config_import.configuration import Configuration, Remark
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.shells import Script, ShellSyntaxError, bash, cmd, powershell
from lorapipe.config_import.source_file import SourceFile
from lorapipe.errors import InputError

TELLING = re.compile(
    r"\b(?:sdxl_|flux_|sd3_|lumina_|anima_|hunyuan_image_)?(?:train_\w+|fine_tune|\w*train)\.py\b"
    r"|accelerate[. ](?:commands\.)?launch|--pretrained_model_name_or_path"
)
PLAIN = re.compile(r"^#!.*\b(?:ba|z|da)?sh\b|^\s*(?:export\s+)?\w+=\S", re.MULTILINE)
BATCH = re.compile(r"^\s*@?echo off|^\s*set \"?\w+=|\^\s*$|^\s*rem ", re.IGNORECASE | re.MULTILINE)
POWERSHELL = re.compile(r"^\s*\$[\w:]+\s*\+?=|`\s*$|\.Add\(\"", re.MULTILINE)
SHELLS: dict[str, Callable[[str], Script]] = {"bash": bash.run, "cmd": cmd.run, "PowerShell": powershell.run}
BY_SUFFIX = {".ps1": "PowerShell", ".bat": "cmd", ".cmd": "cmd", ".sh": "bash", ".bash": "bash", ".zsh": "bash"}


class KohyaShell(Reader):
    """A script in the language that its ending and content say."""

    title: ClassVar[str] = "a script of kohya's sd-scripts"
    place: ClassVar[int] = 40

    def recognises(self, source: SourceFile) -> bool:
        if not source.is_text or source.text.lstrip().startswith(("{", "[")):
            return False
        return source.suffix in BY_SUFFIX or (source.suffix not in (".toml", ".yaml", ".yml", ".json")
                                              and bool(TELLING.search(source.text)))  # fmt: skip

    def read(self, source: SourceFile) -> Configuration:
        shell = shell_of(source)
        try:
            script = SHELLS[shell](source.text)
        except ShellSyntaxError as error:
            cure = "Mend the script, or import the command line alone, in a file of its own."
            raise InputError(f"as {shell}: {error.what}.", where=f"{source.name}:{error.line}", cure=cure) from None
        found = configuration_of(script.commands, source.name)
        if found is None:
            raise InputError(_without_training(source, script), where=source.name, cure=_cure(source))
        found.remarks += [Remark(text, source.name, line) for line, text in script.remarks]
        return found


def shell_of(source: SourceFile) -> str:
    """Return the language of a script: by its ending, else by its look."""
    if source.suffix in BY_SUFFIX:
        return BY_SUFFIX[source.suffix]
    scores = {"PowerShell": len(POWERSHELL.findall(source.text)), "cmd": len(BATCH.findall(source.text)),
              "bash": len(PLAIN.findall(source.text)) + source.text.count("\\\n")}  # fmt: skip
    return max(scores, key=lambda name: (scores[name], name == "bash"))


def _without_training(source: SourceFile, script: Script) -> str:
    if "gui" in source.text.lower() and "kohya" in source.text.lower():
        return "starts kohya's GUI, and holds no settings of a training."
    if script.commands:
        names = {word.text for command in script.commands for word in command.words if word.text.endswith(".py")}
        said = f" ({', '.join(sorted(names)[:3])})" if names else ""
        return f"starts a program{said}, but no training script of kohya's that is known here."
    if hidden := [line for line, text in script.remarks if "trainings in it" in text]:
        return f"starts its training in a part that is not interpreted, in line {hidden[0]}."
    return "is a script, but starts no training of kohya's sd-scripts."


def _cure(source: SourceFile) -> str:
    if "gui" in source.text.lower():
        return "Save the training's configuration in the GUI (Configuration, Save), and import that file."
    return "Import the script that runs `accelerate launch train_network.py …`, or its --config_file."
