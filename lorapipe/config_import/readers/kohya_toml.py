"""kohya's TOML files: all options (`--config_file`), or the folders of pictures (`--dataset_config`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from lorapipe.config_import.configuration import Configuration, Option, Remark, Subset
from lorapipe.config_import.option_table import ALIASES, ROWS
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.source_file import Path_, SourceFile

DATASET_TABLES = ("general", "datasets")


class KohyaToml(Reader):
    """A TOML file with options of kohya's, in whatever tables."""

    title: ClassVar[str] = "a TOML configuration of kohya's sd-scripts"
    place: ClassVar[int] = 30

    def recognises(self, source: SourceFile) -> bool:
        if not source.is_text or source.suffix not in (".toml", ".tml"):
            return False
        if "datasets" in source.toml:
            return True
        names = [name for name, _, _ in _leaves(source.toml, ())]
        return sum(ALIASES.get(name, name) in ROWS for name in names) >= max(1, len(names) // 4)

    def read(self, source: SourceFile) -> Configuration:
        found = Configuration("kohya's sd-scripts")
        if "datasets" in source.toml:
            found.subsets = list(_subsets(source, found.remarks))
            beside = {name: value for name, value in source.toml.items() if name not in DATASET_TABLES}
            found.options = [_ignored(option) for option in _options(source, beside, ())]
            return found
        found.options = list(_options(source, source.toml, ()))
        names = {option.name for option in found.options}
        if "sdxl" in names or any("sdxl" in str(option.value).lower() for option in found.options
                                  if option.name == "pretrained_model_name_or_path"):  # fmt: skip
            found.script = "sdxl_train_network"
            what = "a TOML file does not name the script: this one looks like SDXL's, by the name of its model"
            found.remarks.append(Remark(what, source.name))
        return found


def _leaves(table: Mapping[str, object], at: Path_) -> Iterator[tuple[str, object, Path_]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*at, name))
        else:
            yield name, value, (*at, name)


def _options(source: SourceFile, table: Mapping[str, object], at: Path_) -> Iterator[Option]:
    """Yield the options of a table; tables inside it are flattened, as sd-scripts does."""
    for name, value, path in _leaves(table, at):
        yield Option(name, _plain(value), name, source.name, source.toml_lines.get(path, 0))


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool, list)) else str(value)


def _ignored(option: Option) -> Option:
    option.unresolved = "a dataset's file, where sd-scripts allows no such option; it"
    return option


def _subsets(source: SourceFile, remarks: list[Remark]) -> Iterator[Subset]:
    """Yield the subsets of every dataset, each with the options of its dataset and of `[general]`."""
    general = list(_options(source, _table(source.toml.get("general")), ("general",)))
    for place, dataset in enumerate(_list(source.toml.get("datasets"))):
        at: Path_ = ("datasets", place)
        own = {name: value for name, value in dataset.items() if name != "subsets"}
        shared = list(_options(source, own, at))
        subsets = _list(dataset.get("subsets"))
        if not subsets:
            line = source.toml_lines.get(at, 0)
            remarks.append(Remark(f"dataset {place + 1} has no subsets, and so no pictures", source.name, line))
            yield Subset([], shared, general)
        for number, subset in enumerate(subsets):
            yield Subset(list(_options(source, subset, (*at, "subsets", number))), shared, general)


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
