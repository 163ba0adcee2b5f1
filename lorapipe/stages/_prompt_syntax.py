"""Prompt syntax of other programs (kohya's flags, `<lora:…>`), which is plain text to lorapipe."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorapipe.errors import Problem, shortened

FLAG = re.compile(r"(?:^|\s)(--(?:[nwhdlsgf]|fs|ss|am|as|cn|ce|cr))(?=\s|$)")
"""The flags in a line of kohya's sample prompts."""
CALL = re.compile(r"<(lora|lyco|hypernet|lyco_u|ti):[^<>]*>", re.IGNORECASE)
SETTINGS = {"n": "negative_prompt", "w": "size", "h": "size", "d": "seed", "l": "cfg", "s": "steps", "g": "cfg"}


def notices(prompts: tuple[str, ...], field: str) -> Iterator[Problem]:
    """Yield a notice for each prompt of a field that has such syntax."""
    for place, prompt in enumerate(prompts):
        if flags := FLAG.findall(prompt):
            known = dict.fromkeys(SETTINGS[flag[2:]] for flag in flags if flag[2:] in SETTINGS)
            what = (
                f"{', '.join(dict.fromkeys(flags))} of kohya's sample prompts have no effect: they are read as words."
            )
            instead = f" An evaluate stage has {', '.join(known)} as settings." if known else ""
            yield Problem(what, cure=f"Remove them.{instead}", path=(field, place))
        if call := CALL.search(prompt):
            what = f"{shortened(call[0], 60)} loads nothing here: it is read as words."
            cure = "Remove it: the trained LoRA is always applied, at the strengths of an evaluate stage."
            yield Problem(what, cure=cure, path=(field, place))
