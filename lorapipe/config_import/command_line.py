"""kohya's command line as words: the launcher, the script's name, and its options as argparse reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from lorapipe.config_import.configuration import SECRETS, Configuration, Option, Remark
from lorapipe.config_import.option_table import ALIASES, LAUNCHER, ROWS
from lorapipe.config_import.shells import MOST_WORDS, Command, Word
from lorapipe.errors import InputError, shortened

SCRIPTS = re.compile(
    r"(?:^|[/\\])((?:sdxl_|flux_|sd3_|lumina_|anima_|hunyuan_image_)?(?:train\w*|fine_tune|gen_img\w*))\.py$"
)
LISTS = (
    "network_args",
    "optimizer_args",
    "lr_scheduler_args",
    "text_encoder_lr",
    "base_weights",
    "base_weights_multiplier",
)
"""Options that take several words (`nargs="*"`)."""
MOST_OTHERS = 20
"""Further trainings of a script that are described."""
MOST_CHANGES = 12
"""Options of such a training that are told."""
NUMBER = re.compile(r"-?\d|-\.\d")


def training(commands: Sequence[Command]) -> tuple[Command, str] | None:
    """Return the first command that starts a training, with the name of its script; None if there is none."""
    for command in commands:
        for word in command.words:
            if found := SCRIPTS.search(word.text.strip("\"'")):
                return command, found[1]
    return None


def configuration_of(commands: Sequence[Command], file: str) -> Configuration | None:
    """Return the options of the first training among the commands; None if there is none."""
    found = training(commands)
    if found is None:
        return None
    command, script = found
    if len(command.words) > MOST_WORDS:
        raise InputError(
            f"has a command of {len(command.words)} words.", where=file, cure="Import a script of a training."
        )
    others = [each for each in commands if each is not command and training([each])]
    at = next(place for place, word in enumerate(command.words) if SCRIPTS.search(word.text.strip("\"'")))
    configuration = Configuration("kohya's sd-scripts", script)
    launch = _launcher_options(command.words[:at], file)
    configuration.options = [*launch, *_script_options(command.words[at + 1 :], file, configuration)]
    configuration.remarks += _others(others, configuration.options, file)
    return configuration


def _others(commands: Sequence[Command], first: Sequence[Option], file: str) -> Iterator[Remark]:
    """Yield what further trainings of a script, which are not imported, have in place of the first one's options."""
    known = {option.written: option for option in first if not option.name.startswith(LAUNCHER)}
    for command in commands[:MOST_OTHERS]:
        at = next(place for place, word in enumerate(command.words) if SCRIPTS.search(word.text.strip("\"'")))
        options = _script_options(command.words[at + 1 :], file, Configuration("", ""))
        said = [*_changes(known, options)]
        more = f", and {len(said) - MOST_CHANGES} more" if len(said) > MOST_CHANGES else ""
        how = f"as the first, but {', '.join(said[:MOST_CHANGES])}{more}" if said else "the same as the first"
        yield Remark(f"another training, which is not imported: {how}", file, command.line)
    if len(commands) > MOST_OTHERS:
        yield Remark(f"and {len(commands) - MOST_OTHERS} more trainings", file, commands[MOST_OTHERS].line)


def _changes(known: Mapping[str, Option], options: Sequence[Option]) -> Iterator[str]:
    """Yield what differs from the first training, as it is written."""
    for each in options:
        if each.written not in known or known[each.written].value != each.value:
            yield f"{each.written} {_shown(each)}".rstrip()
    for name in sorted(known.keys() - {each.written for each in options}):
        yield f"no {name}"


def _shown(option: Option) -> str:
    """Return an option's value as text; a secret is hidden."""
    if any(word in option.name for word in SECRETS):
        return "…"
    values = option.value if isinstance(option.value, list) else [] if option.value is True else [option.value]
    return option.unresolved or shortened(" ".join(map(str, values)), 60)


def _launcher_options(words: Iterable[Word], file: str) -> list[Option]:
    """Return the options before the script's name, which are accelerate's."""
    found: list[Option] = []
    for word in words:
        if word.text.startswith("--"):
            name, sign, value = word.text[2:].partition("=")
            found.append(
                Option(f"{LAUNCHER}{name}", value if sign else True, f"--{name}", file, word.line, word.unknown)
            )
        elif found and found[-1].value is True and not word.text.startswith("-"):
            last = found.pop()
            found.append(Option(last.name, word.text, last.written, file, last.line, word.unknown))
    return found


def _script_options(words: Sequence[Word], file: str, configuration: Configuration) -> list[Option]:
    """Return the options of the training script, by argparse's rules."""
    found: list[Option] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not word.text.startswith("--") or len(word.text) < 3:
            if word.text or word.unknown:
                said = f"{word.text[:80]!r}" if word.text else word.unknown
                configuration.remarks.append(Remark(f"{said} belongs to no option", file, word.line))
            continue
        name, sign, value = word.text[2:].partition("=")
        name = full_name(name)
        if sign:
            values = [Word(value, word.line, word.unknown)]
        else:
            values, place = _values(words, place, name)
        found.append(_option(name, word, values, file))
    return found


def _values(words: Sequence[Word], place: int, name: str) -> tuple[list[Word], int]:
    """Return the words after an option that are its values, and where they end."""
    start = place
    row = ROWS.get(ALIASES.get(name, name))
    most = len(words) if name in LISTS else 0 if row and row.type == "flag" else 1
    while place < len(words) and place - start < most:
        text = words[place].text
        if text.startswith("-") and not NUMBER.match(text):
            break
        place += 1
    return list(words[start:place]), place


def _option(name: str, word: Word, values: Sequence[Word], file: str) -> Option:
    written = f"--{word.text[2:].partition('=')[0]}"
    unresolved = next((each.unknown for each in values if each.unknown), "")
    row = ROWS.get(ALIASES.get(name, name))
    is_flag = not values and (row is None or row.type == "flag")
    value: object = True if is_flag else values[0].text if len(values) == 1 else [each.text for each in values]
    if name in LISTS and isinstance(value, str):
        value = [value]
    return Option(name, value, written, file, word.line, unresolved)


@cache
def full_name(name: str) -> str:
    """Return the option that argparse takes a name for: it may be abbreviated, where that is unambiguous."""
    if name in ROWS or name in ALIASES or "." in name:
        return name
    known = [each for each in (*ROWS, *LISTS, *ALIASES) if "." not in each and each.startswith(name)]
    meant = {ALIASES.get(each, each) for each in known}
    return meant.pop() if len(meant) == 1 and len(name) > 2 else name
