"""Syntax errors, and valid YAML that is probably not meant, are reported at the line of their cause with a cure."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.yaml_document import open_document, parse

HEAD = "stages:\n  d:\n    uses: train\n"


def told(text: str) -> list[str]:
    """Return the message about a text; empty if it is valid."""
    try:
        parse(text, "p")
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        # colons
        (HEAD + "    batch: 2\n    steps:6\n", "p:5:10", "a space is missing after ':'"),
        (HEAD + "    steps:6\n    batch: 2\n", "p:4:10", "a space is missing after ':'"),
        ("stages:\n  d:\n    steps:6\n    uses: train\n", "p:3:10", "a space is missing after ':'"),
        ("stages:\n  d:\n    steps:6\n", "p:3:5", "lacks a space after ':'"),
        ("stages:\n  d:\n    adapter:{type: lora}\n    batch: 2\n", "p:3:5", "lacks a space after ':'"),
        ("stages: {a:1, b: 2}\n", "p:1:10", "lacks a space after ':'"),
        (HEAD + "    steps： 6\n", "p:4:10", "a full-width colon"),
        ("stages:\n  d: {uses： train, batch: 2}\n", "p:2:7", "full-width colon"),
        (HEAD + "    steps = 5\n    batch: 2\n", "p:4:11", "written with ':', not with '='"),
        ("stages:\n  d:\n    steps = 5\n    batch: 2\n", "p:3:11", "written with ':', not with '='"),
        ("stages:\n  d:\n    steps = 5\n", "p:3:5", "is written with '='"),
        (HEAD + "    prompt: penny: smiling\n", "p:4:18", "Put text that contains ': ' in quotes"),
        (HEAD + "    prompts:\n      - a: b: c\n", "p:5:13", "Put text that contains ': ' in quotes"),
        ("stages:\n  d:\n    train\n    steps: 5\n", "p:3:5", "this line is not `name: value`"),
        # odd spaces, tabs
        (HEAD + "\u00a0\u00a0\u00a0\u00a0steps: 6\n    batch: 2\n", "p:4:1", "no-break space (U+00A0)"),
        (HEAD + "    steps:\u00a06\n    batch: 2\n", "p:4:11", "no-break space (U+00A0)"),
        (HEAD + "    steps: \u00a06\n", "p:4:12", "no-break space (U+00A0)"),
        ("stages:\n  d:\n    \u00a0steps: 6\n    batch: 2\n", "p:3:5", "no-break space (U+00A0)"),
        ("stages:\n\u3000\u3000d:\n\u3000\u3000\u3000\u3000uses: train\n", "p:2:1", "full-width space (U+3000)"),
        (HEAD + "    \u200bsteps: 6\n    batch: 2\n", "p:4:5", "zero-width space (U+200B)"),
        (HEAD + "    steps: 6\u2009\n", "p:4:12", "space of a typesetter (U+2009)"),
        (HEAD + "\tsteps: 6\n", "p:4:1", "Indent with spaces, not with tabs"),
        (HEAD.replace(" ", "\u00a0") + "steps: 6\n", "p:2:1", "1 more line has one"),
        # marks of other keyboards
        (HEAD + "    base: {family: sd15， vae: x}\n", "p:4:24", "a full-width ，. Type the plain one: ,"),
        (HEAD + "    base: ｛family: sd15, vae: x｝\n", "p:4:11", "a full-width bracket"),
        # commas in numbers
        (HEAD + "    adapter: {type: lora, rank: 0,5}\n", "p:4:35", "Write 0.5."),
        (HEAD + "    steps: {a: 1,000, b: 2}\n", "p:4:18", "Write 1.000, or 1000 if that is meant."),
        # quotes and marks of a word processor
        (HEAD + "    prompt: “penny: smiling”\n", "p:4:13", "Type straight ones"),
        (HEAD + "    prompt: “penny”\n", "p:4:13", "Type straight ones"),
        (HEAD + "    prompts: [„a“, b]\n", "p:4:15", "Type straight ones"),
        (HEAD + "    prompts: [“penny, smiling”]\n", "p:4:15", "Type straight ones"),
        (HEAD + "    prompts:\n    – a\n    – b\n", "p:6:5", "Type '-' and a space"),
        (HEAD + "    prompts:\n      – a\n      – b\n", "p:5:7", "Type '-' and a space"),
        (HEAD + "    prompts:\n      • a\n    steps: 1\n", "p:5:7", "Type '-' and a space"),
        # quotes, brackets, commas
        (HEAD + '    x: "abc\n    y: 1\n    z: 2\n', "p:4:8", "this quote is not closed"),
        (HEAD + "    x: 'abc\n    y: 1\n    z: it's\n", "p:4:8", "this quote is not closed"),
        (HEAD + "    x: 'it's\n    y: 1\n", "p:4:12", "after the closing quote"),
        (HEAD + "    x: [a, b\n    y: 1\n", "p:4:8", "this [ is not closed. Close it with ]"),
        ("stages:\n  d: {uses: train, x: 1\n  e: {uses: b}\n", "p:2:6", "this { is not closed"),
        (HEAD + "    x: [a, b]]\n", "p:4:14", "after the closing quote or bracket"),
        (HEAD + '    x: "penny", smiling\n', "p:4:15", "after the closing quote or bracket"),
        ("stages:\n  d: {uses: train steps: 5}\n", "p:2:24", "a comma is missing"),
        (HEAD + '    x: ["a" "b"]\n', "p:4:13", "a comma is missing"),
        ("stages:\n  d: {uses: prepare, images: ${images}}\n", "p:2:31", '"${name}"'),
        # indentation and dashes
        (HEAD + "      steps: 5\n", "p:4:7", "more than line 3, which already has a value. Indent it with 4 spaces"),
        (HEAD + "   steps: 5\n", "p:4:4", "Indent it with 2 spaces, like line 2 or 4 spaces, like line 3"),
        (HEAD + "    prompts:\n      - a\n      b\n    steps: 1\n", "p:6:7", "'- ' is missing before it"),
        (HEAD + "    prompts:\n      - a\n      -b\n", "p:6:7", "a space is missing after '-'"),
        (HEAD + "    prompts:\n      -a\n      -b\n", "p:5:7", "lacks a space after '-'"),
        (HEAD + "    - a\n", "p:4:5", "an entry of a list among settings"),
        # characters that cannot begin a text, and text from web pages
        (HEAD + "    x: %a\n", "p:4:8", "'%' cannot begin a text. Put the text in quotes"),
        (HEAD + "    x: @a\n", "p:4:8", "'@' cannot begin a text"),
        (HEAD + "    x: `a`\n", "p:4:8", "'`' cannot begin a text"),
        (HEAD + "    x: *a*\n", "p:4:8", "'*' cannot begin a text"),
        (HEAD + "    x: & a\n", "p:4:8", "'&' cannot begin a text"),
        (HEAD + "    x: |a\n", "p:4:8", "the text begins on the next line"),
        ("```yaml\nstages:\n  d: 1\n```\n", "p:1:1", "a code fence from a web page"),
        (HEAD + "```\n", "p:4:1", "a code fence from a web page"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n", "p:3:3", "Use `extends: FILE`"),
        # escapes
        (HEAD + '    images: "C:\\Users\\me\\photos"\n', "p:4:18", "Use single quotes, or /"),
        (HEAD + '    images: "D:\\photos\\new"\n', "p:4:16", "Use single quotes, or /"),
        (HEAD + '    images: "D:\\train\\new"\n', "p:4:13", "Use single quotes, or /"),
        (HEAD + '    images: "E:\\Photos\\Lucy"\n', "p:4:13", "Use single quotes, or /"),
        (HEAD + '    images: "\\\\nas\\new"\n', "p:4:13", "Use single quotes, or /"),
        (HEAD + '    images: "a\\0b"\n', "p:4:13", "U+0000"),
        (HEAD + "    images: a\x80b\n", "p:4:14", "U+0080. Remove it"),
        (HEAD + "    images: a\ud800b\n", "p:4:14", "U+D800"),
    ],
)  # fmt: skip
def test_the_line_of_the_cause_is_named_with_what_to_type(text: str, place: str, words: str) -> None:
    for ends in ("\n", "\r\n"):
        found = told(text.replace("\n", ends))
        assert found and found[0].startswith(f"{place}: ") and words in found[0], found
        assert all(letter.isprintable() or letter in "\n“„" for letter in found[0]) or "typographic" in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "a: it's",
        "a: girls’ room",
        "a: he said “no” to her",
        "a: '“no”'",
        "a: 1girl, 着物　赤",
        "a: C:\\Users\\me",
        "a: 'C:\\Users\\me'",
        'a: "two\\nlines"',
        "a: http://x.org/y:z",
        "a: [penny:1.2, (hat:1.3)]",
        "a:\n  penny walking\n  in a park",
        "a:\n  -5",
        "a:\n  --flag",
        "a: {'b:c': 1}",
        "a: =",
        "optimizer.type: x",
        "a:\n  D:/photos",
    ],
)
def test_what_only_looks_odd_is_read(text: str) -> None:
    assert told(text) == []


# --------------------------------------------------------------------------------------------------- other files


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


GUI = {"LoRA_type": "Standard", "pretrained_model_name_or_path": "x", "train_data_dir": "", "lr_scheduler": "cosine"}
TUNER = {
    "model_type": "lora",
    "model_family": "sdxl",
    "lora_rank": 16,
    "data_backend_config": "x",
    "optimizer": "adamw",
}
AI_TOOLKIT = """\
job: extension
config:
  name: my_first_lora
  process:
    - type: 'sd_trainer'
      network: {type: lora, linear: 16, linear_alpha: 16}
      datasets: [{folder_path: /x}]
"""
SCRIPT = (
    'accelerate launch --num_cpu_threads_per_process 1 train_network.py \\\n  --network_dim=32 --train_data_dir="x"\n'
)
TOML = '[model]\npretrained_model_name_or_path = "x"\n[network]\nnetwork_dim = 32 # r\nnetwork_alpha = 16\nunet_lr = 1e-4\n'
SUBSETS = '[general]\nkeep_tokens = 1\n[[datasets]]\nresolution = 512\n  [[datasets.subsets]]\n  image_dir = "x"\n'


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("gui.json", json.dumps(GUI), "a kohya_ss (bmaltais) configuration"),
        ("gui.yaml", json.dumps(GUI, indent=2), "a kohya_ss (bmaltais) configuration"),
        ("config.toml", TOML, "a configuration of kohya's scripts"),
        ("flat.toml", 'network_module = "networks.lora"\nnetwork_dim = 8\nmax_train_steps = 9\n', "of kohya's scripts"),
        ("data.toml", SUBSETS, "a dataset configuration of kohya's scripts"),
        ("train.sh", "#!/bin/sh\n" + SCRIPT, "a script that starts kohya's trainer"),
        ("train.bat", SCRIPT.replace("\\\n", "^\r\n"), "a script that starts kohya's trainer"),
        ("train.ps1", "$env:X = 1\n" + SCRIPT, "a script that starts kohya's trainer"),
        ("ostris.yaml", AI_TOOLKIT, "an ai-toolkit configuration"),
        ("ostris.yaml", AI_TOOLKIT.replace("config:", "config: "), "an ai-toolkit configuration"),
        ("one.json", json.dumps({"training_method": "LORA", "model_type": "SDXL", "base_model_name": "x"}), "an OneTrainer"),
        ("concepts.json", json.dumps([{"path": "x", "include_subdirectories": 1, "balancing": 1.0, "text_variations": 1}]),
         "OneTrainer's list of concepts"),
        ("simple.json", json.dumps(TUNER), "a SimpleTuner configuration"),
        ("simple.json", json.dumps({f"--{name}": value for name, value in TUNER.items()}), "a SimpleTuner configuration"),
        ("backend.json", json.dumps([{"id": "x", "instance_data_dir": "x", "caption_strategy": "y", "crop_style": "z"}]),
         "SimpleTuner's list of data"),
        ("flow.json", json.dumps({"last_node_id": 1, "nodes": [{"id": 1}], "links": [], "groups": []}),
        "a ComfyUI workflow"),
        ("api.json", json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}), "a ComfyUI prompt"),
        ("model_index.json", json.dumps({"_class_name": "X", "_diffusers_version": "0"}), "a diffusers model's description"),
        ("page.yaml", "<!DOCTYPE html>\n<html><body>x</body></html>", "a web page"),
        ("lora.safetensors", safetensors(), "a safetensors file"),
        ("old.ckpt", pickle.dumps({"a": 1}, protocol=2), "a checkpoint in pickle form"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(2_000_000), "a picture"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(100), "a picture"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(100), "a picture"),
        ("a.gz", b"\x1f\x8b\x08" + bytes(100), "a packed file"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "a packed file"),
        ("a.gguf", b"GGUF" + bytes(100), "a GGUF file"),
        ("lfs.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "was not downloaded"),
        ("noise.yaml", bytes(range(256)) * 40 + bytes(9000), "is not a text file"),
    ],
)  # fmt: skip
def test_a_file_of_another_program_is_named(tmp_path: Path, name: str, data: str | bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(InputError) as caught:
        open_document(tmp_path / name)
    [problem] = caught.value.problems
    assert problem.where == str(tmp_path / name) and words in problem.what and problem.cure


def test_a_zip_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", "")
    assert main(["check", str(tmp_path / "a.zip")]) == 2
    assert "is a zip file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        'stages: {"text": {uses: words, folder: texts}}',
        '{"stages": {"text": {"uses": "words", "folder": "texts"}}}',
        "BM: 1\nstages: {text: {uses: words, folder: texts}}",
        "# PK\nstages:\n  nodes: {uses: words, folder: texts}\n  links: {uses: words, folder: texts}\n",
        "vars: {datasets: texts, image_dir: x}\nstages: {text: {uses: words, folder: '${datasets}'}}",
    ],
)
def test_how_a_pipeline_is_written_does_not_matter(project: Path, text: str) -> None:
    (project / "p.yaml").write_text(text, encoding="utf-8")
    try:
        assert loader.load(project / "p.yaml").stages
    except InputError as error:
        assert [problem.what for problem in error.problems] == ['unknown key "BM".']


def test_a_file_of_variables_may_use_another_programs_words(project: Path) -> None:
    (project / "common.yaml").write_text(
        "vars: {network_dim: 8, network_alpha: 4, unet_lr: 1, clip_skip: 2}\n", encoding="utf-8"
    )
    (project / "p.yaml").write_text("extends: [common.yaml, cat.yaml]\n", encoding="utf-8")
    assert list(loader.load(project / "p.yaml").stages) == ["text", "tally", "kept"]


def test_a_pipeline_is_never_taken_for_another_programs_file(project: Path) -> None:
    text = (project / "cat.yaml").read_text("utf-8")
    remarks = f"# accelerate launch train_network.py --network_dim 8\n{text}# nodes: 1\n# links: 2\n# groups: 3\n"
    (project / "cat.yaml").write_text(remarks, encoding="utf-8")
    assert list(loader.load(project / "cat.yaml").stages) == ["text", "tally", "kept"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (r"D:\train\new", "has a tab (\\t)"),
        (r"D:\new", "has the end of a line (\\n)"),
        (r"E:\bilder\anna", "has a backspace (\\b)"),
        (r".\anna", "has a bell (\\a)"),
        (r"\\\\nas\\share\fotos", "has a form feed (\\f)"),
    ],
)
def test_what_an_escape_has_made_of_a_path_is_named(path: str, what: str) -> None:
    (text,) = told(f'vars: {{images: "{path}"}}\n')
    assert text.startswith("p:1:16") and f'"{path}" is not a path: it {what}' in text and "single quotes" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "type: SD_LORA\nseed: 1\nmodel: x\n",
            "p.yaml:1:1: is not a pipeline: it has none of vars, stages, tune, extends.",
        ),
        ('{"txt2img/Prompt/visible": true, "samples_save": true}', "is not a pipeline"),
        ("penny: {uses: train}\n", "Write `stages:` and below it"),
        ("Stages: {penny: {uses: train}}\n", "unknown key \"Stages\". Did you mean 'stages'?"),
        ("output_dir = '/data'\n[model]\ntype = 'sdxl'\n", "is a TOML file of another program"),
        ("# x\n[general]\nresolution = [960, 544]\n[[datasets]]\nvideo_directory = 'x'\n", "is a TOML file"),
        ("python -m accelerate.commands.launch $args ./scripts/$trainer\n", "is a script that starts kohya's trainer"),
    ],
)
def test_a_document_of_something_else_is_told_once(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        loader.load(tmp_path / "p.yaml")
    (problem,) = error.value.problems
    assert words in str(problem)
