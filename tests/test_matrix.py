"""Matrices, conditions and `extends`: every message points to the place where the value is written."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from outcomes import ends

from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Failed, Started
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.extends import open_layers
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.matrix_samples import Range, samples
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import plan
from lorapipe.pipeline.when import holds

TEXT = "  text: {uses: words, folder: texts}\n"


def load(project: Path, stages: str, *sets: str, head: str = "", name: str = "p.yaml") -> Pipeline:
    (project / name).write_text(f"{head}stages:\n{stages}", encoding="utf-8")
    return loader.load(project / name, sets)


def problems(project: Path, stages: str, head: str = "") -> list[str]:
    with pytest.raises(InputError) as caught:
        load(project, stages, head=head)
    return [str(each).replace(f"{project}/", "") for each in caught.value.problems]


# ------------------------------------------------------------------------------------------------------------- matrix

MATRIX = """\
  tally:
    uses: count
    text: $text
    matrix: {word: [a, b], steps: [1, 2]}
"""


def test_a_cell_for_each_combination(project: Path) -> None:
    stages = load(project, TEXT + MATRIX).stages
    assert list(stages) == ["text", "tally-a-1", "tally-a-2", "tally-b-1", "tally-b-2"]
    assert (stages["tally-b-2"].word, stages["tally-b-2"].steps) == ("b", 2)  # type: ignore[attr-defined]


def test_names_do_not_change_when_a_value_is_added(project: Path) -> None:
    few = {*load(project, TEXT + MATRIX).stages}
    assert few < {*load(project, TEXT + MATRIX.replace("[a, b]", "[c, a, b]")).stages}


def test_exclude_and_include(project: Path) -> None:
    more = MATRIX.replace(
        "steps: [1, 2]",
        "steps: [1, 2], exclude: [{word: a, steps: 2}], include: [{word: b, least: 3}, {word: c, weight: 0.5}]",
    )
    stages = load(project, TEXT + more).stages
    assert list(stages) == ["text", "tally-a-1", "tally-b-1-3", "tally-b-2-3", "tally-c-0_5"]
    assert stages["tally-b-2-3"].least == 3  # type: ignore[attr-defined]
    assert stages["tally-c-0_5"].steps == 1  # type: ignore[attr-defined]


def test_a_list_takes_all_cells_and_a_stage_follows_each(project: Path) -> None:
    shout = "  text: {uses: words, folder: texts, matrix: {upper: [true, false]}}\n"
    each = "  tally: {uses: count, matrix: $text, text: $text}\n"
    kept = '  kept: {uses: keep, matrix: $tally, tally: $tally, others: [$text], to: "out/${cell}.html"}\n'
    pipeline = load(project, kept + each + shout)
    assert pipeline.needs["kept-True"] == ("tally-True", "text-True", "text-False")
    assert pipeline.needs["tally-False"] == ("text-False",)
    assert pipeline.stages["kept-True"].to.path == project / "out/True.html"  # type: ignore[attr-defined]
    assert set(ends(Run(pipeline, on="inline")).values()) == {"finished"}
    assert (project / "out" / "False.html").exists()


def test_cells_share_what_they_have_in_common_with_a_plain_stage(project: Path) -> None:
    list(Run(load(project, TEXT + "  tally: {uses: count, text: $text, word: b}\n"), on="inline"))
    pipeline = load(project, TEXT + MATRIX)
    steps = {step.name: step.action for step in plan(pipeline, Ledger(project)).stages}
    assert steps == {"text": "reuse", "tally-a-1": "run", "tally-a-2": "run", "tally-b-1": "reuse", "tally-b-2": "run"}


def test_settings_reach_every_cell(project: Path) -> None:
    stages = load(project, TEXT + MATRIX, "tally.least=2").stages
    assert {stage.least for name, stage in stages.items() if name != "text"} == {2}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{wrod: [a]}", "p.yaml:6:21 tally-a.wrod: unknown setting \"wrod\". Did you mean 'word'?"),
        ("{steps: [1, 0]}", "p.yaml:6:25 tally-0.steps: 0 is below the minimum 1. How many times to count."),
        ("{steps: 3}", "p.yaml:6:14 tally.matrix.steps: is not a list of values. Write [3, …]."),
        ("{steps: []}", "p.yaml:6:14 tally.matrix.steps: is not a list of values. Write [[], …]."),
        ("{steps: [2, 2]}", "p.yaml:6:5 tally.matrix: gives 'tally-2' twice."),
        ("$tetx", "p.yaml:6:5 tally.matrix: '$tetx' is not a stage with a matrix. Write a mapping of settings to lists."),
        ("{word: [a], exclude: [{word: b}]}", "p.yaml:6:35 tally.matrix.exclude[0]: matches no combination."),
        (
            "{steps: [" + ",".join(["1"] * 1001) + "]}",
            "p.yaml:6:5 tally.matrix: has 1001 combinations; 1000 is the most.",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_a_matrix_are_found_where_they_stand(project: Path, matrix: str, message: str) -> None:
    written = f"{TEXT}  tally:\n    uses: count\n    text: $text\n    matrix: {matrix}\n"
    assert problems(project, written)[0].startswith(message)


def test_one_thing_from_many_says_what_can_be_done(project: Path) -> None:
    kept = "  kept: {uses: keep, tally: $tally, to: out.html}\n"
    [problem] = problems(project, TEXT + MATRIX + kept)
    assert problem == (
        "p.yaml:7:22 kept.tally: $tally stands for 4 stages, but one is needed here. "
        "Write `matrix: $tally` to make one of this stage for each, or name one: $tally-a-1."
    )
    load(project, TEXT + MATRIX + kept.replace("$tally", "$tally-b-2"))


# ---------------------------------------------------------------------------------------------------- when and options


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("${yes}", True),
        ("not ${yes}", False),
        ("${mode} == best", True),
        ("${mode} != 'best'", False),
        ("${mode} in [good, best] and ${size} == 512", True),
        ("${size} in [768] or (${yes} and not ${no})", True),
        ("${no} or ${no} or ${yes}", True),
    ],
)
def test_conditions_compare_variables(text: str, truth: bool) -> None:
    assert holds(text, {"yes": True, "no": False, "mode": "best", "size": 512}.__getitem__) == truth


@pytest.mark.parametrize(
    "text", ["${mode}", "${mode} ==", "== 1", "${yes} ${yes}", "__import__('os')", "(${yes}", "[1", ""]
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\."):
        holds(text, {"yes": True, "mode": "best"}.__getitem__)


def test_a_stage_whose_condition_does_not_hold_is_not_there(project: Path) -> None:
    stages = TEXT + "  tally: {uses: count, text: $text, when: '${count}'}\n"
    assert list(load(project, stages, head="vars: {count: true}\n").stages) == ["text", "tally"]
    assert list(load(project, stages, "vars.count=false", head="vars: {count: true}\n").stages) == ["text"]
    kept = "  kept: {uses: keep, tally: $tally, to: out.html}\n"
    [problem] = problems(project, stages + kept, head="vars: {count: false}\n")
    assert problem.endswith("'tally' is left out: its `when` does not hold. Give this stage the same `when`.")
    [problem] = problems(project, stages)
    assert problem == "p.yaml:3:37 tally.when: there is no variable 'count'. Add it: `vars: {count: …}`."


def test_a_stage_may_be_given_no_second_try(project: Path) -> None:
    events = list(Run(load(project, "  bad: {uses: trouble, how: die, retries: 0}\n")))
    assert sum(isinstance(event, Started) for event in events) == 1


def test_a_stage_that_takes_too_long_saves_and_is_ended(project: Path) -> None:
    slow = TEXT + "  tally: {uses: count, text: $text, steps: 4000, pause: 0.01, timeout: 1 s}\n"
    [failed] = [event for event in Run(load(project, slow)) if isinstance(event, Failed)]
    assert (failed.cause, failed.message) == ("timeout", "not finished within its timeout of 1 s")
    assert "resumes where it stopped" in plan(load(project, slow), Ledger(project)).stages[1].reason


def test_options_do_not_enter_the_result(project: Path) -> None:
    list(Run(load(project, TEXT), on="inline"))
    again = load(project, TEXT.replace("}", ", retries: 3, timeout: 2 h}"))
    assert [step.action for step in plan(again, Ledger(project)).stages] == ["reuse"]


# -------------------------------------------------------------------------------------------------------------- extends


def test_a_file_over_another(project: Path) -> None:
    (project / "deep").mkdir()
    (project / "deep" / "base.yaml").write_text(
        "vars: {word: a}\nstages:\n  text: {uses: words, folder: ../texts}\n"
        "  tally: {uses: count, text: $text, word: '${word}', steps: 3}\n  loud: {uses: trouble}\n",
        encoding="utf-8",
    )
    head = "extends: deep/base.yaml\nvars: {word: b}\n"
    pipeline = load(project, "  tally: {steps: 5}\n  loud: null\n", head=head)
    assert list(pipeline.stages) == ["text", "tally"]
    tally, text = pipeline.stages["tally"], pipeline.stages["text"]
    assert (tally.word, tally.steps) == ("b", 5)  # type: ignore[attr-defined]
    assert text.folder.path.resolve() == project / "texts"  # type: ignore[attr-defined]
    other = load(project, "  tally: {uses: trouble}\n  loud: null\n", head=head)
    assert other.stages["tally"].name == "trouble"


def test_a_path_belongs_to_the_file_that_wrote_it(project: Path) -> None:
    (project / "deep").mkdir()
    base = "vars: {from: nowhere}\nstages:\n  text: {uses: words, folder: '${from}'}\n"
    (project / "deep" / "base.yaml").write_text(base, encoding="utf-8")
    head = "extends: deep/base.yaml\nvars: {from: texts}\n"
    (project / "p.yaml").write_text(head, encoding="utf-8")
    assert loader.load(project / "p.yaml").stages["text"].folder.path == project / "texts"  # type: ignore[attr-defined]


def test_a_mistake_is_found_in_the_file_that_has_it(project: Path) -> None:
    (project / "base.yaml").write_text("stages:\n  text: {uses: words, folder: texts, uper: true}\n", encoding="utf-8")
    [problem] = problems(project, "  tally: {uses: count, text: $text}\n", head="extends: base.yaml\n")
    assert problem.startswith("base.yaml:2:38 text.uper: unknown setting")


def test_settings_are_laid_over_a_kind_that_is_named_by_a_word_alone(tmp_path: Path) -> None:
    low = "vars: {x: word}\nstages:\n  penny: {uses: train, dataset: $x, adapter: lora, optimizer: {type: lion}}\n"
    (tmp_path / "low.yaml").write_text(low, encoding="utf-8")
    over = "extends: low.yaml\nvars: {x: {rank: 4}}\nstages:\n  penny: {adapter: {rank: 64}, optimizer: adamw}\n"
    (tmp_path / "over.yaml").write_text(over, encoding="utf-8")
    found = open_layers(tmp_path / "over.yaml").value
    penny = found["stages"]["penny"]
    assert penny["adapter"] == {"type": "lora", "rank": 64}
    assert penny["optimizer"] == "adamw" and found["vars"] == {"x": {"rank": 4}}
    (tmp_path / "other.yaml").write_text(over.replace("{rank: 64}", "{type: locon, rank: 64}"), encoding="utf-8")
    adapter = open_layers(tmp_path / "other.yaml").value["stages"]["penny"]["adapter"]
    assert adapter == {"type": "locon", "rank": 64}


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nothing.yaml", "p.yaml:1:1: there is no file 'nothing.yaml'."),
        ("p.yaml", "p.yaml:1:1: files extend one another in a circle: p.yaml -> p.yaml."),
        ("7", "p.yaml:1:1: is not a file name, or a list of them."),
    ],
)
def test_what_cannot_be_extended_is_said(project: Path, extends: str, message: str) -> None:
    assert problems(project, TEXT, head=f"extends: {extends}\n") == [message]


# ------------------------------------------------------------------------------------------------------------- excerpts


def test_a_problem_shows_its_line(project: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(project, TEXT + "  tally: {uses: count, text: $text, least: -1}\n")
    [problem] = caught.value.problems
    assert problem.excerpt == (
        "    tally: {uses: count, text: $text, least: -1}\n                                      ^"
    )
    long = f"  tally: {{uses: count, text: $text, word: {'x' * 300}, least: -1}}\n"
    with pytest.raises(InputError) as caught:
        load(project, TEXT + long)
    line, mark = caught.value.problems[0].excerpt.splitlines()
    assert len(line) < 120 and line[mark.index("^") :].startswith("least")


# ------------------------------------------------------------------------------------------------------------- samples

SAMPLED = """\
  tally:
    uses: count
    text: $text
    matrix: {weight: {from: 1e-5, to: 1e-3, log: true}, steps: {from: 1, to: 100}, word: [a, b, c], sample: 12}
"""


def test_samples_cover_every_range(project: Path) -> None:
    """Each twelfth of each range has one sample, and each value of a list as many as the others: a Latin hypercube."""
    stages = [each for name, each in load(project, TEXT + SAMPLED).stages.items() if name != "text"]
    assert len(stages) == 12
    logs = sorted(math.log(each.weight / 1e-5) / math.log(100) for each in stages)  # type: ignore[attr-defined]
    assert all(place - 0.1 <= 12 * share <= place + 1.1 for place, share in enumerate(logs)), logs  # two digits
    counts = sorted(each.steps for each in stages)  # type: ignore[attr-defined]
    assert all(1 <= each <= 100 for each in counts) and counts[0] <= 10 and counts[-1] >= 91
    words = Counter(each.word for each in stages)  # type: ignore[attr-defined]
    assert words == {"a": 4, "b": 4, "c": 4}


def test_samples_are_the_same_again_and_others_with_another_seed(project: Path) -> None:
    first, again = load(project, TEXT + SAMPLED).stages, load(project, TEXT + SAMPLED).stages
    other = load(project, TEXT + SAMPLED.replace("sample: 12", "sample: {count: 12, seed: 1}")).stages
    assert first == again and len({*other} & {*first}) <= 2


def test_a_further_setting_does_not_move_the_others() -> None:
    one: dict[str, Range | list[object]] = {"rate": Range(1e-5, 1e-3, log=True)}
    both = samples({**one, "rank": Range(4, 64, log=True, whole=True)}, 8, 0)
    assert [each["rate"] for each in samples(one, 8, 0)] == [each["rate"] for each in both]
    assert all(isinstance(each["rank"], int) and 4 <= each["rank"] <= 64 for each in both)


def test_equal_samples_are_one_cell(project: Path) -> None:
    few = SAMPLED.replace("weight: {from: 1e-5, to: 1e-3, log: true}, steps: {from: 1, to: 100}, ", "")
    assert {*load(project, TEXT + few).stages} == {"text", "tally-a", "tally-b", "tally-c"}


def test_excluded_samples_are_left_out(project: Path) -> None:
    stages = load(project, TEXT + SAMPLED.replace("sample: 12", "sample: 12, exclude: [{word: a}]")).stages
    assert len(stages) == 9


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            "{weight: {from: 1, to: 2}}",
            "tally.matrix.weight: is a range, of which a number of samples is taken.",
        ),
        ("{weight: {from: 2, to: 1}, sample: 3}", "begins at 2 and ends at 1. Write the lower first."),
        ("{weight: {from: 0, to: 1, log: true}, sample: 3}", "a range by factors (log) begins above 0."),
        ("{weight: {from: 0, too: 1}, sample: 3}", "a range has no \"too\". Did you mean 'to'?"),
        ("{weight: {from: a, to: 1}, sample: 3}", "a range begins and ends with numbers."),
        ("{weight: 3, sample: 3}", "is neither a list of values nor a range."),
        ("{weight: [1, 2], sample: many}", "p.yaml:6:30 tally.matrix.sample: is no number of samples."),
        ("{weight: [1, 2], sample: 0}", "0 samples are not possible: 1 to 1000 are."),
        ("{sample: 3}", "has no settings to sample."),
    ],
)
def test_mistakes_of_samples_are_located(project: Path, matrix: str, message: str) -> None:
    stages = TEXT + f"  tally:\n    uses: count\n    text: $text\n    matrix: {matrix}\n"
    found = problems(project, stages)
    assert message in "\n".join(found), found
