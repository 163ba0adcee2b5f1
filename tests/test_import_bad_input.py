"""`lorapipe import` of what is no configuration: it says what the file is and what to do, and never shows a traceback."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trainer_configs as configs
import yaml
from PIL import Image

from lorapipe.cli import main
from lorapipe.config_import.configuration import KINDS
from lorapipe.config_import.option_table import ROWS
from lorapipe.config_import.translation import import_files
from lorapipe.errors import InputError

LONGEST = 200_000
"""Characters of the longest report and pipeline of a fuzzed file of some kilobytes."""


def picture(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, "PNG")


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "a")


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8") and None


BAD: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "empty": ("a.sh", text(""), "is empty", "lorapipe import reads"),
    "a picture": ("a.png", picture, "is a picture", ""),
    "a zip": ("a.zip", archive, "is a zip file", ""),
    "a script that is a LoRA": (
        "train.sh", lambda path: configs.with_metadata(path, {}) and None, "holds no metadata",
        "inspect train.sh --pipeline"),
    "a checkpoint": ("a.safetensors", lambda path: configs.with_metadata(path, {}, ("model.diffusion_model.a",)) and None,
                     "is a checkpoint", "Name it as checkpoint of a base"),
    "a quote that is open": ("a.sh", text('x="1\naccelerate launch train_network.py\n'), "a quote is not closed",
                             "Mend the script"),
    "a PowerShell brace": ("a.ps1", text("if ($true) {\n$x = 1\n"), "'{' is not closed", "Mend the script"),
    "a batch block": ("a.bat", text("if 1==1 (\nset X=1\n"), "')' is missing", "Mend the script"),
    "an if without fi": ("a.sh", text('if [ 1 = 1 ]; then\naccelerate launch train_network.py\n'), "'fi' is missing", ""),
    "a script of the GUI": ("gui.sh", text("python kohya_gui.py --listen\n"), "starts kohya's GUI", "Save the training's"),
    "a script of another program": ("run.sh", text("python main.py --foo\n"), "no training script", "accelerate launch"),
    "TOML with a mistake": ("a.toml", text("network_dim = 4\nseed = = 3\n"), "is no valid TOML", "Mend this line"),
    "JSON with a mistake": ("a.json", text('{"LoRA_type": "Standard",,}'), "is no valid JSON", ""),
    "YAML with a mistake": ("a.yaml", text("config:\n  process: [\n datasets"), "is no valid YAML", ""),
    "a project's TOML": ("pyproject.toml", text("[project]\nname = 'a'\n[tool.ruff]\nx = 1\n"), "programming project", ""),
    "a workflow": ("w.json", text('{"1": {"class_type": "KSampler", "inputs": {}}}'), "is a workflow of ComfyUI", "Open it"),
    "concepts": ("c.json", text('[{"path": "a", "include_subdirectories": false}]'), "list of concepts",
                 "Import OneTrainer's"),
    "a pipeline": ("p.yaml", text("stages:\n  a: {uses: train}\n"), "is a pipeline of lorapipe already", "lorapipe run"),
    "a web page": ("a.txt", text("<!DOCTYPE html><html></html>"), "is a web page", "Raw"),
    "a poem": ("a.txt", text("The sun has set.\n"), "is no configuration", "lorapipe import reads"),
    "a Python program": ("train.py", text("import torch\n\ndef main():\n    pass\n"), "is a Python program", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_configuration_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    name, write, what, cure = BAD[case]
    write(tmp_path / name)
    assert main(["import", str(tmp_path / name)]) == 2
    told = capsys.readouterr()
    assert not told.out and what in told.err and cure in told.err and "Traceback" not in told.err


@pytest.mark.parametrize("line", ["a.sh:1", "a.toml:2", "a.ps1:1"])
def test_a_syntax_error_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    name = line.partition(":")[0]
    write = next(
        write for file, write, what, _ in BAD.values() if file == name and ("closed" in what or "TOML" in what)
    )
    write(tmp_path / name)
    assert main(["import", str(tmp_path / name)]) == 2
    assert line in capsys.readouterr().err


def test_folders_missing_files_and_special_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path)]) == 2
    assert "it is a folder" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "none.sh")]) == 2
    assert "no such file" in capsys.readouterr().err.lower()


def test_a_folder_without_pictures_is_said_as_the_original_meets_it(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    found = configs.imported(configs.command("--pretrained_model_name_or_path=pocket"), tmp_path)
    assert any(
        "has no folder like 10_name" in line and "sd-scripts finds no pictures" in line
        for line in found.report.conflicts
    )


def test_a_lora_given_as_a_base_is_said_before_it_runs(tmp_path: Path) -> None:
    configs.with_metadata(
        tmp_path / "lora.safetensors", {}, ("lora_unet_a.lora_down.weight", "lora_unet_a.lora_up.weight")
    )
    found = configs.imported(configs.command("--pretrained_model_name_or_path=./lora.safetensors"), tmp_path)
    assert any("LoRA" in str(problem) for problem in found.report.problems)


def test_nothing_is_written_over_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, target = tmp_path / "a.sh", tmp_path / "mine.yaml"
    script.write_text(configs.command(), encoding="utf-8")
    target.write_text("mine", encoding="utf-8")
    assert main(["import", str(script), "--to", str(target)]) == 2
    assert "is there already" in capsys.readouterr().err and target.read_text(encoding="utf-8") == "mine"
    assert main(["import", str(script), "--to", str(target), "--force"]) == 0
    assert "stages:" in target.read_text(encoding="utf-8")
    assert main(["import", str(script), "--to", str(tmp_path)]) == 2


def test_without_a_target_the_pipeline_goes_to_stdout_and_the_report_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sh").write_text(configs.command("--seed=4"), encoding="utf-8")
    assert main(["import", str(tmp_path / "a.sh")]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("# Imported from a.sh") and "seed: 4" in told.out and "Used:" in told.err
    assert main(["import", str(tmp_path / "a.sh"), "--json", "--to", str(tmp_path / "b.yaml")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["keys"] == sum(data["counts"].values()) == len(data["entries"])
    assert {
        "key": "--seed",
        "value": "4",
        "file": "a.sh",
        "line": 1,
        "outcome": "used",
        "text": "lora.seed: 4",
    } in data["entries"]


def test_secrets_are_neither_shown_nor_copied(tmp_path: Path) -> None:
    found = configs.imported(configs.command("--wandb_api_key=s3cret123", "--huggingface_token=s3cret456"), tmp_path)
    shown = found.pipeline + found.report.as_text() + json.dumps(found.report.as_data())
    assert "s3cret" not in shown


def test_two_imports_give_the_same(tmp_path: Path) -> None:
    first, second = (configs.imported(configs.BASH, tmp_path) for _ in range(2))
    assert (first.pipeline, first.report.as_text()) == (second.pipeline, second.report.as_text())


# ---------------------------------------------------------------------------------------------------------------- fuzz

SEEDS = {
    "a.sh": configs.BASH, "b.ps1": configs.POWERSHELL, "c.toml": "[a]\nnetwork_dim = 4\nlearning_rate = 1e-4\nseed = 3\n",
    "d.json": json.dumps({"LoRA_type": "Standard", "epoch": 3, "network_dim": 4, "optimizer": "AdamW",
                          "train_data_dir": "."}),
    "e.bat": '@echo off\nset X=1\nif %X%==1 (\n set Y=2\n) else (\n set Y=3\n)\n'
             "accelerate launch train_network.py ^\n --seed=%Y%\n",
    "f.yaml": "config:\n  process:\n    - type: sd_trainer\n      datasets: [{folder_path: a}]\n"
              "      model: {name_or_path: b}\n",
    "g.toml": "[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = 'a'\nnum_repeats = 2\n",
    "h.json": json.dumps({"training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "base_model_name": "a",
                          "optimizer": {"optimizer": "ADAMW"}}),
}  # fmt: skip
PIECES = ['"', "'", "`", "(", ")", "{", "}", "[", "]", "$", "%", "=", "\\", "\n", "--", "$(", "${", "^", "@", "#", "|",
          "&&", "0", "-1", "1e999", "NaN", "null", "true", "\0", "é", "가", "\ufeff", ",", ":", "..", "/*", "if", "fi",
          "9" * 40]  # fmt: skip


def mutated(content: str, chance: random.Random) -> bytes:
    """A text with some characters cut, doubled, swapped, or replaced by ones that parsers stumble over."""
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content) + 1)
        end = min(len(content), at + chance.randint(0, 30))
        way = chance.randrange(4)
        if way == 0:
            content = content[:at]
        elif way == 1:
            content = content[:at] + chance.choice(PIECES) * chance.choice([1, 1, 2, 50]) + content[at:]
        elif way == 2:
            content = content[:at] + content[at:end] * 2 + content[end:]
        else:
            content = content[:at] + content[end:]
    data = bytearray(content.encode("utf-8", "surrogatepass"))
    if data and chance.random() < 0.3:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_give_a_pipeline_or_a_message(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    for _ in range(120):
        (tmp_path / name).write_bytes(mutated(SEEDS[name], chance))
        try:
            found = import_files([tmp_path / name], tmp_path)
        except InputError as error:
            assert all(problem.what and len(str(problem)) < 5_000 for problem in error.problems)
        else:
            assert len(found.pipeline) < LONGEST and len(found.report.as_text()) < LONGEST
            assert sum(found.report.counts.values()) == len(found.report.entries)


@pytest.mark.parametrize("suffix", [".sh", ".ps1", ".bat", ".toml", ".json", ".yaml", ".safetensors", ""])
def test_random_bytes_are_no_configuration(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(suffix)
    for _ in range(40):
        (tmp_path / f"x{suffix}").write_bytes(chance.randbytes(chance.randint(0, 3_000)))
        with pytest.raises(InputError):
            import_files([tmp_path / f"x{suffix}"], tmp_path)


VALUES = ("0", "-1", "1e300", "abc", "", "None", "[1, 2]", "1,2", "-5%", "x" * 300, "a: b", "#c", "${x}", "$y",
          "512x512", "~",
          "..", "pocket", "Prodigy", "polynomial", "lycoris.kohya", "boft", "huber", "1" * 40,
          "decouple=True betas=0.9,x")  # fmt: skip


@pytest.mark.parametrize("form", ["toml", "json", "sh", "safetensors"])
def test_options_with_odd_values_give_yaml_and_an_outcome_each(tmp_path: Path, form: str) -> None:
    chance = random.Random(form)
    for _ in range(25):
        given = {name: chance.choice(VALUES) for name in chance.sample(NAMES, 25)}
        path = tmp_path / f"a.{form}"
        if form == "sh":
            options = [f"--{name}='{value}'" for name, value in given.items()]
            path.write_text(f"accelerate launch {chance.choice(SCRIPTS)}.py {' '.join(options)}\n", encoding="utf-8")
        elif form == "safetensors":
            configs.with_metadata(path, {f"ss_{name}": value for name, value in given.items()})
        elif form == "toml":
            path.write_text(
                "\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items()), encoding="utf-8"
            )
        else:
            kinds = {"LoRA_type": chance.choice(["Standard", "LyCORIS/LoKr", "x"]), "epoch": 1, "max_resolution": "64"}
            path.write_text(json.dumps({**kinds, **given}), encoding="utf-8")
        found = import_files([path], tmp_path)
        assert isinstance(yaml.safe_load(found.pipeline), dict)
        assert {entry.outcome.kind for entry in found.report.entries} <= {*KINDS}
        assert sum(found.report.counts.values()) == len(found.report.entries) >= len(given)


NAMES = [name for name in ROWS if "." not in name and not name.endswith("_config") and name != "config_file"]
SCRIPTS = ("train_network", "sdxl_train_network", "train_textual_inversion", "fine_tune", "train_db", "sdxl_train")


BOMBS = {
    "a.sh": "x=a\n" + "x=$x$x\n" * 60 + "accelerate launch train_network.py --seed=$x\n",
    "b.ps1": '$x = "a"\n' + "$x = $x + $x\n" * 60 + "accelerate launch train_network.py --seed=$x\n",
    "c.bat": "set X=a\n" + "set X=%X%%X%\n" * 60 + "accelerate launch train_network.py --seed=%X%\n",
    "d.yaml": "a: &a [x, x]\n" + "".join(
        f"a{i}: &a{i} [*a{i - 1 if i else ''}, *a{i - 1 if i else ''}]\n" for i in range(40))
              + "config: {process: [{datasets: *a39}]}\n",
    "e.json": '{"LoRA_type": "Standard", "epoch": 1, "network_dim": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "f.sh": "if true; then\n" * 3_000 + "accelerate launch train_network.py\n",
    "g.ps1": "$x = " + "(" * 5_000 + "1" + ")" * 5_000 + "\naccelerate launch train_network.py\n",
    "h.sh": "accelerate launch train_network.py --seed=$((" + "(" * 5_000 + "1" + ")" * 5_000 + "))\n",
    "i.sh": "a=(x)\n" + 'a+=("${a[@]}")\n' * 40 + 'accelerate launch train_network.py "${a[@]}"\n',
    "j.toml": "network_dim = 4\nseed = " + "9" * 10_000 + "\nlearning_rate = 1\n",
    "k.sh": "accelerate launch train_network.py " + "--a=1 " * 19_000 + "\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_grow_without_end_are_bounded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(BOMBS[name], encoding="utf-8")
    try:
        found = import_files([tmp_path / name], tmp_path)
    except InputError:
        return
    assert len(found.pipeline) < 1_000_000 and len(found.report.as_text()) < 2_000_000
