"""`lorapipe import` of kohya's scripts: the guide's two, and every trap of their parsers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trainer_configs as configs
from outcomes import ends

from lorapipe.cli import main
from lorapipe.config_import.configuration import KINDS
from lorapipe.config_import.shells import bash, cmd, powershell
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.execution.runner import Run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configs.project(tmp_path_factory.mktemp("imports"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), [("first.sh", configs.BASH), ("second.ps1", configs.POWERSHELL)])
def test_the_guides_scripts_train(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text, encoding="utf-8")
    target = project / f"{name}.yaml"
    assert main(["import", str(project / name), "--to", str(target)]) == 0
    assert main(["check", str(target)]) == 0
    small = ["lora.steps=2", "lora.adapter.rank=2", "lora.adapter.alpha=1", "dataset.resolution=64",
             *(f"{stage}.{knob}" for stage in ("dataset", "regularisation")
               for knob in ("resolution=64", "min_bucket_reso=32", "max_bucket_reso=128"))]  # fmt: skip
    pipeline = loader.load(target, small)
    assert ends(Run(pipeline, on="inline")) == dict.fromkeys(("dataset", "regularisation", "lora", "file"), "finished")
    assert (project / "out" / "penny.safetensors").stat().st_size > 1000


def test_the_first_script_says_the_same_training(project: Path) -> None:
    found = configs.imported(configs.BASH, project)
    lora, dataset = configs.stage_of(found, project), configs.stage_of(found, project, "dataset")
    assert (lora.unet_lr, lora.text_encoder_lr, lora.batch, lora.seed) == (2e-4, 5e-5, 2, 420)
    assert (lora.adapter.rank, lora.adapter.alpha, lora.clip_skip, lora.max_tokens) == (128, 64, 2, 225)
    assert (lora.optimizer.name, lora.scheduler.name, lora.scheduler.cycles) == ("adamw8bit", "cosine_with_restarts", 1)
    assert (lora.steps.count, lora.steps.unit, lora.snapshots.plain()) == (10, "epochs", "every 1 epochs")
    assert (lora.captions.shuffle, lora.captions.keep_tokens, lora.weighting.name) == (True, 1, "none")
    assert (dataset.resolution.size, dataset.min_bucket_reso, dataset.max_bucket_reso) == ((512, 512), 320, 960)
    assert dataset.augment.flip and dataset.held_out == 0 and dataset.caption_extensions == (".txt",)
    assert "(5 × 2) pictures × 2 with regularisation pictures / 2 = 10 steps an epoch, × 10 epochs = 100 steps" in (
        found.report.effective["steps"])  # fmt: skip
    assert found.report.problems == []


def test_the_second_script_asks_for_what_cannot_work_together(project: Path) -> None:
    found = configs.imported(configs.POWERSHELL, project, "second.ps1")
    conflicts = " ".join(found.report.conflicts)
    assert "color_aug and cache_latents: sd-scripts stops" in conflicts
    assert "face_crop_aug_range 2.0,4.0: with buckets and cached latents" in conflicts
    dataset = configs.stage_of(found, project, "dataset")
    assert dataset.augment.colour and not dataset.augment.face_crop
    assert configs.outcomes(found)["--face_crop_aug_range"] == "no effect"
    assert "learning_rate's default" not in str(found.report.effective)


@pytest.mark.parametrize(("name", "text"), [("a.sh", configs.BASH), ("b.ps1", configs.POWERSHELL)])
def test_the_counts_add_up_to_the_keys_each_with_its_line(project: Path, name: str, text: str) -> None:
    found = configs.imported(text, project, name)
    entries = found.report.entries
    assert sum(found.report.counts.values()) == len(entries) == text.count("--")
    lines = text.splitlines()
    for entry in entries:
        assert entry.option.written in lines[entry.option.line - 1]
        assert entry.outcome.kind in KINDS and entry.outcome.text
    shown = found.report.as_text()
    assert all(f"{entry.option.place}  {entry.option.written}" in shown for entry in entries)


# ----------------------------------------------------------------------------------------------------- parsers' traps


@pytest.mark.parametrize(
    ("script", "family"),
    [("train_network.py", "sd15"), ("./sd-scripts/sdxl_train_network.py", "sdxl"), ("train_network.py --v2", "sd2")],
)
def test_the_script_gives_the_family(tmp_path: Path, script: str, family: str) -> None:
    found = configs.imported(
        configs.command(script=f"--num_cpu_threads_per_process=8 --mixed_precision bf16 {script}"), tmp_path
    )
    assert f"family: {family}" in found.pipeline
    assert configs.outcomes(found)["--num_cpu_threads_per_process"] == "translated"
    assert "precision: fp32" in found.pipeline  # accelerate's own precision does not count


LANGUAGES = {
    "a.sh": 'n=7\nx="--seed=$n"\nif [ "$n" -gt 3 ]; then\n  x="$x --flip_aug"\nfi\naccelerate launch train_network.py \\\n'
            "  --clip_skip 2 $x --output_name='a b'\n",
    "b.bat": '@echo off\nset N=7\nset "X=--seed=%N%"\nif %N% gtr 3 (\n  set "X=%X% --flip_aug"\n)\n'
             'accelerate launch train_network.py ^\n  --clip_skip 2 %X% --output_name="a b"\n',
    "c.ps1": '$n = 7\n$x = [System.Collections.ArrayList]::new()\n[void]$x.Add("--seed=$n")\nif ($n -gt 3) {\n'
             '  [void]$x.Add("--flip_aug")\n}\naccelerate launch train_network.py `\n  --clip_skip 2 $x '
             '--output_name="a b"\n',
}  # fmt: skip


@pytest.mark.parametrize("name", LANGUAGES)
def test_variables_conditions_and_continued_lines_are_interpreted(tmp_path: Path, name: str) -> None:
    found = configs.imported(LANGUAGES[name], tmp_path, name)
    given = {entry.option.written: entry.value for entry in found.report.entries}
    assert given == {"--clip_skip": "2", "--seed": "7", "--flip_aug": "true", "--output_name": "a b"}
    assert "/a b.safetensors" in found.pipeline


@pytest.mark.parametrize("line", ["lr=$(python read.py)", "lr=$(cat lr.txt)", 'lr="$OTHER"'])
def test_what_only_running_would_tell_is_said_and_nothing_runs(tmp_path: Path, line: str) -> None:
    (tmp_path / "read.py").write_text("open('ran', 'w')", encoding="utf-8")
    found = configs.imported(
        f'{line}\ntouch ran\naccelerate launch train_network.py --unet_lr="$lr" --seed=3', tmp_path
    )
    entry = next(entry for entry in found.report.entries if entry.option.written == "--unet_lr")
    assert entry.outcome.kind == "refused" and "depends on" in entry.outcome.text
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()


def test_values_are_read_as_argparse_does(project: Path) -> None:
    text = configs.command("--network_dim", "8", "--network_alpha=4", "--max_train_epoch", "3", "--network_args",
                           '"conv_dim=4"', "conv_alpha=1", "--seed", "5", "--seed=6")  # fmt: skip
    found = configs.imported(text, project)
    lora = configs.stage_of(found, project)
    assert (lora.adapter.name, lora.adapter.rank, lora.adapter.conv_rank, lora.adapter.conv_alpha) == ("locon", 8, 4, 1)
    assert lora.steps.plain() == "3 epochs" and lora.seed == 6
    assert [entry.outcome.kind for entry in found.report.entries if entry.option.written == "--seed"] == [
        "no effect",
        "used",
    ]


def test_misspelt_options_are_named_with_the_one_that_is_meant(project: Path) -> None:
    line = configs.imported(configs.command("--min_snr_gama=5"), project)
    entry = next(entry for entry in line.report.entries if entry.option.written == "--min_snr_gama")
    assert entry.outcome.kind == "unknown" and "stops" in entry.outcome.text and "'min_snr_gamma'" in entry.outcome.text
    toml = configs.imported(
        "network_dim = 4\nlearning_rate = 1e-4\nunet_lrr = 1e-3\n[a]\nseed = 3\n", project, "c.toml"
    )
    entry = next(entry for entry in toml.report.entries if entry.option.written == "unet_lrr")
    assert (
        entry.option.line == 3
        and "ignores it without a word" in entry.outcome.text
        and "'unet_lr'" in entry.outcome.text
    )


RATES = {
    "--learning_rate=1e-3": (1e-3, 1e-3), "--learning_rate=1e-3 --unet_lr=1e-4": (1e-4, 1e-3), "": (2e-6, 2e-6),
    "--unet_lr=1e-4 --text_encoder_lr=5e-5": (1e-4, 5e-5), "--unet_lr=1e-4 --text_encoder_lr=0": (1e-4, 0),
    "--learning_rate=1e-4 --network_train_unet_only": (1e-4, 0),
    "--learning_rate=1e-4 --network_train_text_encoder_only": (0, 1e-4),
}  # fmt: skip


@pytest.mark.parametrize("options", RATES)
def test_each_part_has_its_own_rate_or_falls_back(project: Path, options: str) -> None:
    lora = configs.stage_of(configs.imported(configs.command(*options.split()), project), project)
    assert (lora.unet_lr, lora.text_encoder_lr) == RATES[options]


def test_legacy_options_are_told_apart(project: Path) -> None:
    found = configs.imported(
        configs.command("--stop_text_encoder_training=100", "--no_token_padding", "--use_8bit_adam"), project
    )
    told = configs.outcomes(found)
    assert (told["--stop_text_encoder_training"], told["--no_token_padding"]) == ("no effect", "no effect")
    assert configs.stage_of(found, project).optimizer.name == "adamw8bit"


def test_zero_is_off_and_one_epoch_drops_every_caption(project: Path) -> None:
    text = configs.command("--min_snr_gamma=0", "--noise_offset=0", "--network_dropout=0",
                           "--caption_dropout_every_n_epochs=1", "--scale_weight_norms=0")  # fmt: skip
    found = configs.imported(text, project)
    lora, told = configs.stage_of(found, project), configs.outcomes(found)
    assert (lora.weighting.name, lora.noise.offset, lora.scale_weight_norms) == ("none", 0, 0)
    assert lora.captions.dropout == 1
    assert {told[name] for name in ("--min_snr_gamma", "--noise_offset", "--network_dropout")} == {"no effect"}


@pytest.mark.parametrize("kind", ["DAdaptAdam", "Prodigy", "DAdaptLion"])
def test_rates_that_an_adaptive_optimizer_cannot_have_are_a_conflict(project: Path, kind: str) -> None:
    text = configs.command(f"--optimizer_type={kind}", "--unet_lr=1.0", "--text_encoder_lr=0.5")
    found = configs.imported(text, project)
    lora = configs.stage_of(found, project)
    assert (lora.unet_lr, lora.text_encoder_lr) == (1, 1)
    assert any("one step size" in line for line in found.report.conflicts)
    found = configs.imported(configs.command(f"--optimizer_type={kind}", "--learning_rate=1e-4"), project)
    assert configs.stage_of(found, project).unet_lr == 1
    assert any("next to nothing" in line for line in found.report.conflicts)


def test_cached_text_encoder_outputs_leave_out_what_the_original_leaves_out(project: Path) -> None:
    """And what it stops at is a conflict."""
    text = configs.command(
        "--cache_text_encoder_outputs", "--caption_prefix=art", "--enable_wildcard", "--shuffle_caption"
    )
    found = configs.imported(text, project)
    lora, told = configs.stage_of(found, project), configs.outcomes(found)
    assert (told["--caption_prefix"], told["--enable_wildcard"], told["--shuffle_caption"]) == (
        "no effect",
        "no effect",
        "used",
    )
    assert (lora.captions.prefix, lora.text_encoder_lr) == ("", 0)
    conflicts = " ".join(found.report.conflicts)
    assert "cache_text_encoder_outputs and shuffle_caption" in conflicts and "network_train_unet_only" in conflicts


@pytest.mark.parametrize(
    "option",
    ["--optimizer_type=RAdamScheduleFree", "--lr_scheduler=inverse_sqrt", "--loss_type=odd", "--save_model_as=ckpt",
     "--network_module=networks.odd", "--fp8_base", "--base_weights=a"],
)  # fmt: skip
def test_what_is_not_offered_is_refused_with_a_reason_and_the_rest_is_valid(project: Path, option: str) -> None:
    found = configs.imported(configs.command(option), project)
    entry = next(entry for entry in found.report.entries if entry.option.written == option.partition("=")[0])
    assert entry.outcome.kind == "refused" and entry.outcome.text and found.report.problems == []


def test_tags_that_stay_in_place_matter_only_where_others_move(project: Path) -> None:
    found = configs.imported(configs.command("--keep_tokens=1"), project)
    assert configs.outcomes(found)["--keep_tokens"] == "no effect"
    assert not configs.stage_of(found, project).captions.keep_tokens


def test_folders_without_a_number_are_left_out_as_the_original_does(project: Path) -> None:
    configs.pictures(project / "mixed" / "3_cat", {"a": (64, 64)})
    configs.pictures(project / "mixed" / "extra", {"b": (64, 64)})
    found = configs.imported(configs.command("--train_data_dir=./mixed"), project)
    assert configs.stage_of(found, project, "dataset").exclude == ("extra",)
    configs.pictures(project / "bare" / "5", {"a": (64, 64)})
    dataset = configs.stage_of(
        configs.imported(configs.command("--train_data_dir=./bare"), project), project, "dataset"
    )
    assert (dataset.repeats, dataset.images.path.name) == (5, "5")


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("a.sh", "while read x; do lr=$x; done < rates\nTRAIN --unet_lr=$lr", 1, "'while'"),
        ("a.sh", "case $1 in a) lr=1;; *) lr=2;; esac\nTRAIN --unet_lr=$lr", 1, "'case'"),
        ("a.sh", "\nfor f in *.toml; do lr=$f; done\nTRAIN --unet_lr=$lr", 2, "'for'"),
        ("a.sh", "set_rate() {\n lr=1e-4\n return\n}\nset_rate\nTRAIN --unet_lr=$lr", 5, "'set_rate'"),
        ("a.sh", "read -p rate lr\nTRAIN --unet_lr=$lr", 1, "`read`"),
        ("a.sh", "source rates.sh\nTRAIN --unet_lr=$lr", 1, "`source rates.sh`"),
        ("a.sh", 'cat > x.toml << END\nlr = "1\nEND\nTRAIN --unet_lr=$lr', 1, "<<"),
        ("b.bat", ":again\nset lr=1\nTRAIN --unet_lr=%rate%\ngoto again", 4, "`goto again`"),
        ("b.bat", "call :rates\nTRAIN --unet_lr=%lr%\nexit /b\n:rates\nset lr=1", 1, "`call :rates`"),
        ("b.bat", 'for /f "tokens=*" %%i in (rates.txt) do set lr=%%i\nTRAIN --unet_lr=%lr%', 1, "for"),
        ("b.bat", "call rates.bat\nTRAIN --unet_lr=%lr%", 1, "`call rates.bat`"),
        ("c.ps1", "while ($true) { $lr = 1 }\nTRAIN --unet_lr=$lr", 1, "'while'"),
        ("c.ps1", "function Rate($x) { $script:lr = $x }\nRate 1\nTRAIN --unet_lr=$lr", 1, "'function'"),
        ("c.ps1", "param([string]$lr = 1)\nTRAIN --unet_lr=$lr", 1, "param"),
        ("c.ps1", ". .\\rates.ps1\nTRAIN --unet_lr=$lr", 1, "rates.ps1"),
    ],
)
def test_what_is_not_interpreted_is_refused_by_name_and_line(
    tmp_path: Path, name: str, text: str, line: int, said: str
) -> None:
    """And what it would set is refused too, never taken from before it."""
    found = configs.imported(text.replace("TRAIN", "python train_network.py --seed=1"), tmp_path, name)
    assert configs.outcomes(found)["--unet_lr"] == "refused"
    assert any(remark.startswith(f"{name}:{line}: refused: ") and said in remark for remark in found.report.remarks)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sh", "for dim in 4 8; do\n  TRAIN --network_dim=$dim --output_name=penny-$dim\ndone"),
        ("a.sh", "train() {\n  TRAIN --network_dim=$1 --output_name=penny-$1\n}\ntrain 4\ntrain 8"),
        ("b.bat", "for %%d in (4 8) do (\n  TRAIN --network_dim=%%d --output_name=penny-%%d\n)"),
        ("c.ps1", "foreach ($dim in 4, 8) {\n  TRAIN --network_dim=$dim --output_name=penny-$dim\n}"),
    ],
)  # fmt: skip
def test_of_several_trainings_the_first_is_imported_and_the_others_are_told(
    tmp_path: Path, name: str, text: str
) -> None:
    found = configs.imported(text.replace("TRAIN", "python train_network.py --seed=1"), tmp_path, name)
    assert "rank: 4 " in found.pipeline and "penny-4.safetensors" in found.pipeline
    said = "another training, which is not imported: as the first, but --network_dim 8, --output_name penny-8"
    assert [remark for remark in found.report.remarks if "refused" in remark] == []
    assert any(remark == f"{name}:2: {said}" for remark in found.report.remarks), found.report.remarks


def test_a_training_in_a_part_that_is_not_interpreted_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in a part that is not interpreted, in line 2"):
        configs.imported("\nwhile true; do python train_network.py; done", tmp_path)


# ------------------------------------------------------------------------------------------------------------- shells


@pytest.mark.parametrize(
    ("run", "text", "words"),
    [
        (bash.run, 'a=(x "y z")\na+=(w)\ntrain.py "${a[@]}" ${b:-1} $((2*3))', ["train.py", "x", "y z", "w", "1", "6"]),
        (bash.run, 'a=("--b 1")\nif [[ $x == 1 ]]; then a+=(no); fi\na+=("--c $x2")\ntrain.py ${a[@]} "${a[0]}"',
         ["train.py", "--b", "1", "--c", "--b 1"]),
        (bash.run, "[[ -z $x && 1 -lt 2 ]] && train.py yes || train.py no", ["train.py", "yes"]),
        (bash.run, "train.py a\\ b 'c d' \"e'f\" # g", ["train.py", "a b", "c d", "e'f"]),
        (powershell.run, '$a = @("x", "y")\n$a += "z"\n$n = $a.Length\npython train.py $a "$($n * 2)"',
         ["python", "train.py", "x", "y", "z", "6"]),
        (powershell.run, '$s = if ($true -and -not $false) { "yes" } else { "no" }\npython train.py `\n -a $s',
         ["python", "train.py", "-a", "yes"]),
        (powershell.run, "<# off\ntrain.py #>\n$m = [Math]::Ceiling(7 / 2)\n& python train.py $m",
         ["python", "train.py", "4"]),
        (cmd.run, 'set /a N=2*3\nif not "%N%"=="6" (set X=a) else (set X=b)\npython train.py %X% !N!',
         ["python", "train.py", "b", "6"]),
        (bash.run, "for i in {2..3}; do for j in a b; do w=$w$i$j; done; done\ntrain.py $w", ["train.py", "2a2b3a3b"]),
        (bash.run, "for ((i=1;i<3;i++)); do w=$w$i; done\nfor i in $(seq 3 4); do w=$w$i; done\ntrain.py $w",
         ["train.py", "1234"]),
        (bash.run, 'f() { train.py "$2" "${@}" $#; }\nf a "b c"', ["train.py", "b c", "a", "b c", "2"]),
        (bash.run, "if [[ 1 == 1 ]]; then train.py a; exit; fi\ntrain.py b", ["train.py", "a"]),
        (powershell.run, 'for ($i = 1; $i -le 2; $i++) { $w += "a$i" }\npython train.py $w',
         ["python", "train.py", "a1a2"]),
        (cmd.run, "set W=x\nfor /l %%i in (1,1,3) do set W=!W!%%i\npython train.py %W%", ["python", "train.py", "x123"]),
        (cmd.run, "set W=x\nfor %%i in (a b) do (\nset W=%%i\npython train.py %W%\n)", ["python", "train.py", "x"]),
        (cmd.run, "set W=1\ngoto on\nset W=2\n:on\npython train.py %W%\ngoto :eof\npython train.py no",
         ["python", "train.py", "1"]),
        (cmd.run, "rem train.py no\npython train.py a^\n b & echo c", ["python", "train.py", "a", "b"]),
    ],
)  # fmt: skip
def test_shells_expand_as_the_real_ones(run, text: str, words: list[str]) -> None:
    assert [word.text for word in run(text).commands[0].words] == words
