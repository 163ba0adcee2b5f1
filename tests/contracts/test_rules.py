"""Every rule has a case that it finds, and a similar one beside it that it does not; so a new rule needs its cases here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lorapipe import rules
from lorapipe.cli import main
from lorapipe.models import Checkpoint, Family
from lorapipe.pipeline import loader
from lorapipe.rules import Facts, Pictures, Rule
from lorapipe.spec import from_dict
from lorapipe.stages import Stage
from lorapipe.stages.train import Train

ROOT = Path(__file__).parents[2]
TAGS = tuple(
    f"penny, {scene}, {colour} hat" for scene in ("meadow", "snow", "city") for colour in ("red", "blue", "green")
)
SENTENCES = tuple(f"penny is a small girl, who stands in the {place} and looks up to the sky" for place in "abcdefgh")
MANY = Pictures("dataset", 50, 50, captions=TAGS, written=50, resolution=(512, 512), sizes=((800, 800),) * 50)
CLASS = replace(MANY, stage="class", captions=("woman",) * 50, written=0)


@dataclass(frozen=True)
class Case:
    """Settings that a rule finds (`bad`) and those that it does not (`good`), with their facts; `other`: those of `good`."""

    bad: dict[str, Any]
    good: dict[str, Any]
    facts: Facts = field(default_factory=lambda: known())
    other: Facts | None = None


def known(pictures: Pictures = MANY, base: str = "", **changes: Any) -> Facts:
    """Return the facts of an ordinary training: 50 pictures with tags, 1000 steps."""
    return replace(Facts(None, base, (pictures,), None, 1000, 50.0), **changes)


def many(**changes: Any) -> Pictures:
    """Return the 50 pictures with changes."""
    return replace(MANY, **changes)


def of(family: str, pictures: Pictures = MANY, **knobs: Any) -> Facts:
    """Return the facts of a training on a base of a family, whose file nobody reads."""
    contract: Any = Family
    base = object.__new__(contract.registry.get(family))
    for name, value in {"checkpoint": Checkpoint(Path("base.safetensors")), **knobs}.items():
        object.__setattr__(base, name, value)
    return replace(known(pictures, "base.safetensors"), base=base)


def lora(**knobs: Any) -> dict[str, Any]:
    """Return a LoRA's settings."""
    return {"adapter": {"type": "lora", **knobs}}


REG = {"regularisation": "$class"}
SHUFFLED = {"captions": {"shuffle": True}}
CASES: dict[str, Case] = {
    "adapter_for_difficulty": Case({"adapter": "lokr", "difficulty": "E"}, {"adapter": "lokr", "difficulty": "C"}),
    "alpha_damps": Case(lora(rank=32, alpha=1), {**lora(rank=32, alpha=1), "optimizer": "prodigy"}),
    "alpha_for_optimizer": Case(
        {"optimizer": "dadapt_adam", **lora(rank=32, alpha=32)}, {"optimizer": "dadapt_adam", **lora(rank=32, alpha=1)}
    ),
    "caption_dropout_high": Case({"captions": {"dropout": 0.5}}, {"captions": {"dropout": 0.1}}),
    "uncaptioned_pictures": Case({}, {"captions": {"trigger": "penny"}}, known(many(captions=("",) * 50))),
    "clip_skip_for_base": Case({}, {"clip_skip": 2}, replace(of("sd15"), base_name="animefull-pruned.safetensors")),
    "d_coef_for_adapter": Case(
        {"optimizer": {"type": "prodigy", "d_coef": 8}},
        {"optimizer": {"type": "prodigy", "d_coef": 8}, "adapter": "lokr"},
    ),
    "flip_of_asymmetric": Case(
        {}, {}, known(many(flip=True, captions=("penny, scar on cheek",) * 9)), known(many(flip=True))
    ),
    "keep_tokens_for_trigger": Case(SHUFFLED, {"captions": {"shuffle": True, "keep_tokens": 1}}),
    "less_than_an_epoch": Case({"steps": 1000}, {}, known(many(showings=5000), per_epoch=5000.0), known()),
    "min_snr_for_subject": Case(
        {"subject": "style", "weighting": {"type": "min_snr", "gamma": 1}},
        {"subject": "character", "weighting": {"type": "min_snr", "gamma": 1}},
    ),
    "no_gradient_limit": Case({"max_grad_norm": 0}, {"max_grad_norm": 0, "optimizer": "prodigy"}),
    "noise_offset_high": Case({"noise": {"offset": 0.2}}, {"noise": {"offset": 0.1}}),
    "noise_offset_v_prediction": Case({"noise": {"offset": 0.05}}, {}, of("sdxl", zero_terminal_snr=True)),
    "one_style": Case({"subject": "character"}, {"subject": "style"}, known(many(captions=("penny, monochrome",) * 9))),
    "prior_loss_weight_low": Case({**REG, "prior_loss_weight": 0.01}, {**REG, "prior_loss_weight": 0.5}),
    "rank_for_difficulty": Case({**lora(rank=64), "difficulty": "A"}, {**lora(rank=8), "difficulty": "A"}),
    "rank_for_pictures": Case(lora(rank=128), lora(rank=64), known(many(count=20))),
    "rank_too_high": Case(lora(rank=512), lora(rank=128)),
    "rate_for_optimizer": Case(
        {"optimizer": "prodigy", "unet_lr": 1e-4, "text_encoder_lr": 1e-4}, {"unet_lr": 1e-4, "text_encoder_lr": 1e-4}
    ),
    "rate_of_adaptive": Case(
        {"optimizer": "prodigy", "unet_lr": 0.05, "text_encoder_lr": 0.05},
        {"optimizer": "prodigy", "unet_lr": 0.5, "text_encoder_lr": 0.5},
    ),
    "rate_too_high": Case({"unet_lr": 1e-2}, {"unet_lr": 5e-4}),
    "rate_too_low": Case({"unet_lr": 2e-6}, {"unet_lr": 5e-5}),
    "regularisation_says_trigger": Case(
        REG,
        REG,
        known(regularisation=replace(CLASS, captions=("penny, woman",) * 9)),
        known(regularisation=CLASS),
    ),
    "regularisation_with_captions": Case(
        REG,
        REG,
        known(regularisation=CLASS),
        known(many(captions=("penny woman",) * 50, written=0), regularisation=CLASS),
    ),
    "repeats_for_epochs": Case({}, {}, known(many(repeats=(20, 20), showings=1000), per_epoch=1000.0), known()),
    "resolution_for_base": Case(
        {}, {}, of("sdxl", many(resolution=(512, 512))), of("sdxl", many(resolution=(1024, 1024)))
    ),
    "resolution_for_pictures": Case({}, {}, known(many(resolution=(1024, 1024), sizes=((600, 600),) * 50)), known()),
    "schedule_falls": Case(
        {"optimizer": "prodigy", "scheduler": "cosine"}, {"optimizer": "adamw", "scheduler": "cosine"}
    ),
    "shuffled_sentences": Case(SHUFFLED, {}, known(many(captions=SENTENCES))),
    "slow_optimizer": Case({"optimizer": "sgd_nesterov"}, {"optimizer": "adamw"}),
    "snapshots_few": Case({"snapshots": 1}, {"snapshots": 10}),
    "steps_for_pictures": Case({"steps": 1000}, {"steps": 1000}, known(many(count=2)), known(many(count=30))),
    "text_encoder_rate": Case({"text_encoder_lr": 2e-4}, {"text_encoder_lr": 5e-5}),
    "tokens_for_captions": Case({}, {"max_tokens": 150}, known(many(captions=("penny, " * 50,)))),
    "too_few_pictures": Case({"subject": "style"}, {"subject": "character"}, known(many(count=20))),
    "warmup_without_end": Case(
        {"scheduler": {"type": "cosine", "warmup": 1000}}, {"scheduler": {"type": "cosine", "warmup": 100}}
    ),
    "weight_norms": Case({"scale_weight_norms": 0.1}, {"scale_weight_norms": 1}),
}


def said_of(knobs: dict[str, Any], facts: Facts) -> Iterator[str]:
    """Yield the rules that find something in a training; settings that are refused at once say so by the rule's id."""
    from lorapipe.errors import InputError

    try:
        train = from_dict(Stage, {"uses": "train", "dataset": "$dataset", **knobs})
    except InputError as error:
        yield from (each.rule for each in error.problems)
        return
    assert isinstance(train, Train)
    yield from (each.rule for each in rules.problems(train, facts))


@pytest.mark.parametrize("name", rules.names())
def test_a_rule_finds_its_case_and_leaves_the_other(name: str) -> None:
    case = CASES[name]
    assert name in [*said_of(case.bad, case.facts)]
    assert name not in [*said_of(case.good, case.other or case.facts)]
    assert name not in [*said_of({**case.bad, "allow": [name]}, case.facts)], "allow silences it"


@pytest.mark.parametrize("name", rules.names())
def test_a_rule_explains_itself(name: str) -> None:
    rule = Rule.registry.get(name)
    for text in (rule.__doc__, rule.why, rule.change):
        assert text and text[0].isupper() and text.strip().endswith(".") and len(text) > 10
    assert rule.level in ("warning", "error")


@pytest.mark.parametrize("name", rules.names())
def test_a_rule_of_unknown_facts_says_nothing_of_pictures(name: str) -> None:
    """A training of which only the settings are known, as while the pipeline is loaded, is no reason to guess."""
    plain = from_dict(Stage, {"uses": "train", "dataset": "$dataset"})
    assert isinstance(plain, Train)
    assert not [*rules.problems(plain, Facts())]


def test_show_lists_all_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "rule"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in rules.names())
    assert main(["show", "rule", "schedule_falls"]) == 0
    assert "Instead: Write scheduler: constant" in capsys.readouterr().out


def test_a_finding_has_its_place_and_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    pictures = (ROOT / "pipelines/examples/penny").as_posix()
    text = (ROOT / "pipelines" / "quickstart.yaml").read_text("utf-8").replace("examples/penny", pictures)
    file.write_text(text.replace("rank: 16", "rank: 192"), "utf-8")
    assert main(["check", str(file)]) == 0
    line = next(each for each in capsys.readouterr().out.splitlines() if each.endswith("[rank_for_pictures]"))
    assert f"{file}:23:28 penny.adapter.rank: rank 192 for 24 pictures." in line and "Write rank: 96 or less." in line
    assert main(["plan", str(file)]) == 0
    assert "[rank_for_pictures]" in capsys.readouterr().out
    file.write_text(text.replace("rank: 16}", "rank: 192}\n    allow: [rank_for_pictures]"), "utf-8")
    assert main(["check", str(file)]) == 0
    assert "rank_for_pictures" not in capsys.readouterr().out


def test_a_rule_that_is_misspelt_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ROOT / "pipelines" / "quickstart.yaml"), "--set", "penny.allow=[schedule_fall]"]) == 2
    assert "Did you mean 'schedule_falls'?" in capsys.readouterr().err


def test_the_quickstart_gives_no_alarm() -> None:
    pipeline = loader.load(ROOT / "pipelines" / "quickstart.yaml")
    assert [str(each) for stage in pipeline.stages.values() for each in stage.findings(pipeline.stages)] == []
