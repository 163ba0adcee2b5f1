"""A pipeline file is valid, or every mistake in it is reported with its place and cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.yaml_document import parse
from lorapipe.spec import Ref


def load(folder: Path, text: str, *sets: str) -> Pipeline:
    (folder / "p.yaml").write_text(text, encoding="utf-8")
    return loader.load(folder / "p.yaml", sets)


def complaints(folder: Path, text: str, *sets: str) -> list[str]:
    """Return the problems of a document, without the folder's name."""
    with pytest.raises(InputError) as caught:
        load(folder, text, *sets)
    return [str(problem).replace(f"{folder}/", "").replace(f"{folder}\\", "") for problem in caught.value.problems]


# ------------------------------------------------------------------------------------------------------------- YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1.5", 1.5), (".5", 0.5), ("-3", -3), ("+3", 3), ("0x1F", 31), ("0o17", 15),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("true", True), ("False", False), ("null", None), ("", None),
        ("1_000", "1_000"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"), ("0777", 777),
        ("'5'", "5"), ('"true"', "true"), (".inf", float("inf")), ("9" * 40, 1e40),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"k: {text}", "p").value["k"]
    assert found == value and type(found) is type(value)


def test_every_part_has_a_position() -> None:
    document = parse("a:\n  - b: 1\n    c: {d: 2}\n", "p.yaml")
    assert document.where(("a", 0, "b")) == "p.yaml:2:5"
    assert document.where(("a", 0, "c", "d")) == "p.yaml:3:9"
    assert document.where(("a", 0, "c", "not there")) == "p.yaml:3:5"


def test_what_is_not_a_document_is_refused(tmp_path: Path) -> None:
    def complaint(data: bytes) -> str:
        (tmp_path / "p.yaml").write_bytes(data)
        with pytest.raises(InputError) as caught:
            loader.load(tmp_path / "p.yaml")
        return str(caught.value)

    assert "is empty. A pipeline needs `stages:`" in complaint(b"")
    assert "is empty" in complaint(b"# nothing but a remark\n")
    assert "is not UTF-8 text (byte 0). Save it as UTF-8." in complaint("stages:".encode("utf-16"))
    assert "is larger than 1000 kB" in complaint(b"#" * 1_000_001)
    assert "U+0007" in complaint(b"a: \x07")
    assert ":2:1: this is not YAML" in complaint(b"a: 1\n\tb: 2\n") and "not with tabs" in complaint(b"a: 1\n\tb: 2\n")
    assert "a: b: c" not in complaint(b"a: b: c") and "in quotes" in complaint(b"a: b: c")
    assert "one document" in complaint(b"a: 1\n---\nb: 2\n")
    assert "is not a mapping" in complaint(b"[1, 2]")
    assert "there are no stages" in complaint(b"vars: {a: 1}")
    assert "object/apply:os.system' is not used" in complaint(b"a: !!python/object/apply:os.system [x]")


def test_a_missing_file_names_the_near_miss(project: Path) -> None:
    with pytest.raises(InputError, match=r"cta\.yaml: there is no such file\. Did you mean .*cat\.yaml"):
        loader.load(project / "cta.yaml")


def test_a_key_given_twice_is_an_error() -> None:
    with pytest.raises(InputError, match=r"p:3:1: 'a' is given twice; the first is on line 1\. Keep one\."):
        parse("a: 1\nb: 2\na: 3\n", "p")


def test_an_alias_stands_for_the_last_value_of_its_name() -> None:
    document = parse("a: &x {k: [1, 2]}\nb: *x\nc: &x 3\nd: [*x, *x]\n", "p")
    assert document.value == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": 3, "d": [3, 3]}
    assert document.where(("b", "k", 1)) == "p:1:15"
    with pytest.raises(InputError) as caught:
        parse("a: *nobody\n[1, 2]: {x: y}\n*nobody : z\nb: 5\nb: {c: d}\n", "p")
    assert [str(problem).partition(". ")[0] for problem in caught.value.problems] == [
        "p:1:4: there is no &nobody before this *nobody.",
        "p:2:1: a key must be a word, not a list, a mapping or an alias",
        "p:3:1: a key must be a word, not a list, a mapping or an alias",
        "p:5:1: 'b' is given twice; the first is on line 4",
    ]


def test_documents_are_bounded() -> None:
    with pytest.raises(InputError, match="nested more than 32 levels"):
        parse("[" * 100_000, "p")
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(InputError, match="aliases"):
        parse(bomb, "p")
    with pytest.raises(InputError, match="levels"):
        parse("a: &a [*a]", "p")


def test_a_variable_in_braces_needs_quotes_and_the_message_says_so(project: Path) -> None:
    [complaint] = complaints(project, "stages:\n  text: {uses: words, folder: ${folder}}\n")
    assert complaint.startswith("p.yaml:2:") and '"${name}"' in complaint


# ------------------------------------------------------------------------------------------------- stages and values


def test_stages_stand_after_those_they_need(project: Path) -> None:
    text = """
stages:
  kept: {uses: keep, tally: $tally, to: out/x.html, others: [$tally.text, $text]}
  tally: {uses: count, text: $text}
  text: {uses: words, folder: texts}
"""
    pipeline = load(project, text)
    assert list(pipeline.stages) == ["text", "tally", "kept"]
    assert pipeline.folder == project
    assert pipeline.stages["kept"].others == (Ref("tally", ("text",)), Ref("text"))
    assert pipeline.stages["kept"].to.path == project / "out" / "x.html"


def test_variables_keep_their_type_and_become_text_inside_text(project: Path) -> None:
    text = """
vars: {n: 3, root: texts, folder: "${root}", file: "out/${n}-${yes}.html", yes: true, list: [$text, $text]}
stages:
  text: {uses: words, folder: "${folder}", note: "$${n} stays, ${n}"}
  tally: {uses: count, text: $text, least: "${n}"}
  kept: {uses: keep, tally: $tally, to: "${file}", others: "${list}"}
"""
    stages = load(project, text).stages
    assert stages["tally"].least == 3
    assert stages["kept"].to.path == project / "out" / "3-true.html"
    assert stages["text"].note == "${n} stays, 3"
    assert stages["kept"].others == (Ref("text"), Ref("text"))


def test_variables_that_cannot_be_filled_in_are_named_once(project: Path) -> None:
    text = """
vars: {a: "${b}", b: "${a}", c: 1}
stages:
  text: {uses: words, folder: "${foldr}"}
  tally: {uses: count, text: $text, least: "${a}"}
"""
    assert complaints(project, text) == [
        "p.yaml:2:19 vars.b: variables depend on one another in a cycle: a -> b -> a.",
        "p.yaml:4:23 text.folder: there is no variable 'foldr'. Known: a, b, c.",
    ]


def test_variables_are_bounded(project: Path) -> None:
    doubling = ", ".join(f'v{n}: "${{v{n - 1}}}${{v{n - 1}}}"' for n in range(1, 30))
    text = f'vars: {{v0: x, {doubling}}}\nstages:\n  text: {{uses: words, folder: texts, note: "${{v29}}"}}\n'
    assert "uses variables more than 20000 times" in complaints(project, text)[0]


def test_all_mistakes_come_at_once_in_the_order_of_the_file(project: Path) -> None:
    text = """\
vars: {folder: textes}
stage: 1
stages:
  tally:
    uses: cuont
    text: $text
  text: {uses: words, folder: "${folder}", uper: yes}
  kept: {uses: keep, tally: $text, to: 3, others: [$kept.txt]}
  one: {uses: count, text: $three, least: -1}
  two: {uses: count, text: $nobody, steps: 2.5, word: ""}
"""
    assert complaints(project, text) == [
        "p.yaml:1:8 vars.folder, for text.folder: textes does not exist. Did you mean 'texts'? A folder of text files.",
        "p.yaml:2:1 stage: unknown key \"stage\". Did you mean 'stages'?",
        "p.yaml:5:5 tally.uses: there is no stage \"cuont\". Did you mean 'count'?",
        "p.yaml:7:44 text.uper: unknown setting \"uper\". Did you mean 'upper'?",
        "p.yaml:8:3 kept: stages depend on one another in a cycle: kept -> kept. "
        "One of them must start from something else.",
        "p.yaml:8:22 kept.tally: $text is a Text, but a Tally is needed here. Did you mean $one or $two?",
        "p.yaml:8:36 kept.to: 3 is not a path. The file to write.",
        "p.yaml:8:52 kept.others[0]: $kept is a Tally and has no artifact 'txt'. Did you mean 'text'?",
        "p.yaml:9:22 one.text: there is no stage 'three'. Known: kept, one, tally, text, two.",
        "p.yaml:9:36 one.least: -1 is below the minimum 0. Counts below this are zero.",
        "p.yaml:10:22 two.text: there is no stage 'nobody'. Known: kept, one, tally, text, two.",
        "p.yaml:10:37 two.steps: 2.5 is not a whole number. How many times to count.",
    ]


def test_settings_that_are_wrong_together_are_named(project: Path) -> None:
    text = 'stages:\n  text: {uses: words, folder: texts}\n  tally: {uses: count, text: $text, word: ""}\n'
    assert complaints(project, text) == ["p.yaml:3:37 tally.word: there is nothing to count."]


def test_a_circle_is_printed_as_one_walks_it(project: Path) -> None:
    text = """\
stages:
  a: {uses: trouble, text: $b}
  b: {uses: trouble, text: $c}
  c: {uses: trouble, text: $a}
"""
    assert "stages depend on one another in a cycle: a -> b -> c -> a." in complaints(project, text)[0]


def test_an_artifact_that_fits_is_proposed(project: Path) -> None:
    text = """\
stages:
  text: {uses: words, folder: texts}
  tally: {uses: count, text: $text}
  again: {uses: count, text: $tally}
"""
    [complaint] = complaints(project, text)
    assert (
        complaint == "p.yaml:4:24 again.text: $tally is a Tally, but a Text is needed here. Did you mean $tally.text?"
    )


def test_stage_names_are_words(project: Path) -> None:
    stage = "{uses: words, folder: texts}"
    found = complaints(project, f'stages:\n  "a b": {stage}\n  vars: {stage}\n  고양이: {stage}\n')
    assert len(found) == 2 and "'a b' cannot be a stage's name" in found[0]


# ------------------------------------------------------------------------------------------------------------ --set


def test_settings_from_the_command_line_win(project: Path) -> None:
    stages = loader.load(project / "cat.yaml", ["tally.least=1e1", "text.upper=true", "tally.word='5'"]).stages
    assert stages["tally"].least == 10 and stages["text"].upper is True and stages["tally"].word == "5"


def test_variables_can_be_set(project: Path) -> None:
    (project / "more").mkdir()
    stages = loader.load(project / "cat.yaml", ["vars.folder=more"]).stages
    assert stages["text"].folder.path == project / "more"


def test_mistakes_in_settings_are_named_by_the_setting(project: Path) -> None:
    sets = ["tally.least=101", "tally.wrod=x", "nobody.x=1", "vars.x=1", "nonsense", "text.folder.deep=1"]
    with pytest.raises(InputError) as caught:
        loader.load(project / "cat.yaml", sets)
    assert set(map(str, caught.value.problems)) == {
        "--set nonsense: is not a setting. Write stage.knob=value or vars.name=value.",
        "--set vars.x: there is no variable 'x'. Known: folder.",
        "--set nobody.x: there is no stage 'nobody'. Known: kept, tally, text.",
        "--set text.folder.deep: folder has no settings of its own. Set it as a whole.",
        "--set tally.least: 101 is above the maximum 100. Counts below this are zero.",
        "--set tally.wrod: unknown setting \"wrod\". Did you mean 'word'?",
    }
