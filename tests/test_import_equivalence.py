"""An imported pipeline and its original describe the same training.

Twenty configurations differ in every option. Buckets, captions, rates at every step and loss weights are computed here from
the published behaviour of sd-scripts, without lorapipe's code, and compared with what the imported stages compute.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import trainer_configs as configs

from lorapipe.training.diffusion import discrete

COUNT = 20
EXTRAS = {"cosine_with_restarts": "--lr_scheduler_num_cycles", "polynomial": "--lr_scheduler_power",
          "cosine_with_min_lr": "--lr_scheduler_min_lr_ratio"}  # fmt: skip
CAPTIONS = (
    "penny, red hat, blue coat, meadow, smile",
    "penny ||| red hat, blue coat ||| meadow",
    "one;;;two, three, four",
)
SIZES = ((64, 64), (640, 360), (300, 900), (1024, 768), (97, 301), (512, 512), (2000, 1500), (333, 777))

Config = Mapping[str, object]


def of_number(index: int) -> Config:
    """A configuration; every option differs between neighbours, and takes all its values over the twenty."""

    def one(*values: object) -> object:
        return values[index % len(values)]

    side = 256 + 64 * (index % 9)
    return {
        "resolution": one(f"{side}", f"{side},{side + 128}", f"{side + 64},{side}"),
        "enable_bucket": one(True, True, True, False), "bucket_no_upscale": one(False, False, False, True, False),
        "min_bucket_reso": 128 + 32 * (index % 5), "max_bucket_reso": 960 + 60 * (index % 5),
        "bucket_reso_steps": one(64, 128), "train_batch_size": 1 + index % 4, "max_train_steps": 100 + 37 * index,
        "network_dim": 4 + index, "network_alpha": 1 + index % 4, "seed": 100 + index, "clip_skip": one(2, 1, 3),
        "max_token_length": one(225, 150, 75), "learning_rate": (1 + index) * 1e-5, "unet_lr": one(2e-4, None, 3e-5),
        "text_encoder_lr": one(None, 5e-5, 1e-5, 0), "lr_scheduler": one(
            "cosine_with_restarts", "constant", "linear", "polynomial", "cosine", "constant_with_warmup",
            "cosine_with_min_lr"),
        "lr_warmup_steps": one(0, 10, 0.1, 25), "lr_scheduler_num_cycles": 1 + index % 5,
        "lr_scheduler_power": one(1.0, 2.0, 0.5), "lr_scheduler_min_lr_ratio": one(0.1, 0.25),
        "shuffle_caption": one(True, False), "keep_tokens": index % 3, "keep_tokens_separator": one("|||", None),
        "secondary_separator": one(None, ";;;"), "caption_prefix": one(None, "art of", None),
        "caption_suffix": one("", "4k", ""),
        "caption_dropout_rate": one(0.0, 0.1, 0.05), "caption_tag_dropout_rate": one(0.0, 0.0, 0.2),
        "caption_dropout_every_n_epochs": one(0, 3, 0), "min_snr_gamma": one(5, None, 1, 20),
        "debiased_estimation_loss": one(False, True, False, False), "noise_offset": one(None, 0.1, 0.05),
        "prior_loss_weight": one(1.0, 0.5),
        "scale_weight_norms": one(None, 1.0, 2.5), "max_grad_norm": one(1.0, 0.5, 0.0), "flip_aug": one(True, False),
        "gradient_accumulation_steps": 1 + index % 3, "caption_extension": one(".txt", ".caption"),
        "loss_type": one("l2", "huber", "smooth_l1", "l1"), "huber_c": one(0.1, 0.2),
        "huber_schedule": one("snr", "constant"),
    }  # fmt: skip


def written(config: Config, index: int) -> tuple[str, str]:
    """The configuration as a script or a TOML file, in turn, with the name of its file."""
    kept = {name: value for name, value in config.items() if value not in (None, "") and value is not False}
    paths = {"pretrained_model_name_or_path": "./base", "train_data_dir": "./train", "network_module": "networks.lora",
             "reg_data_dir": "./reg"}  # fmt: skip
    if index % 4 == 3:
        lines = [f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
                 for name, value in {**paths, **kept}.items()]  # fmt: skip
        return "\n".join(lines), f"c{index}.toml"
    flags = [f"--{name}" if value is True else f'--{name}="{value}"' for name, value in {**paths, **kept}.items()]
    continued = {0: " \\\n  ", 1: " ^\n  ", 2: " `\n  "}[index % 4]
    return continued.join(
        ["accelerate launch train_network.py", *flags]
    ) + "\n", f"c{index}.{('sh', 'bat', 'ps1')[index % 4]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configs.project(tmp_path_factory.mktemp("equal"))


@pytest.fixture(params=range(COUNT))
def case(request: pytest.FixtureRequest, project: Path) -> tuple[Config, configs.Pipeline]:
    config = of_number(request.param)
    text, name = written(config, request.param)
    found = configs.imported(text, project, name)
    assert not found.report.counts["unknown"] and found.report.problems == []
    return config, configs.loaded(found, project)


def test_every_option_differs() -> None:
    made = [of_number(index) for index in range(COUNT)]
    for name in made[0]:
        assert len({str(config[name]) for config in made}) >= 2, name


# ------------------------------------------------------------------------------------------------------------- buckets


def bucket_table(size: tuple[int, int], least: int, most: int, step: int) -> list[tuple[int, int]]:
    """sd-scripts' `make_bucket_resolutions`."""
    area = size[0] * size[1]
    least, most = least // step * step, math.ceil(most / step) * step
    side = int(math.sqrt(area) // step) * step
    found = {(side, side)}
    width = least
    while width <= most:
        height = min(most, (area // width) // step * step)
        if height >= least:
            found |= {(width, height), (height, width)}
        width += step
    return sorted(found)


def bucket_of(picture: tuple[int, int], config: Config, size: tuple[int, int]) -> tuple[int, int]:
    """The size to which sd-scripts crops a picture."""
    step = int(str(config["bucket_reso_steps"]))
    width, height = picture
    if not config["enable_bucket"]:
        return size
    if not config["bucket_no_upscale"]:
        table = bucket_table(size, int(str(config["min_bucket_reso"])), int(str(config["max_bucket_reso"])), step)
        return picture if picture in table else min(table, key=lambda each: abs(each[0] / each[1] - width / height))
    resized = (float(width), float(height))
    if width * height > size[0] * size[1]:
        ratio = width / height
        ideal = math.sqrt(size[0] * size[1] * ratio)
        by_width = (whole(ideal, step), whole(whole(ideal, step) / ratio, step))
        high = whole(size[0] * size[1] / ideal, step)
        if not (all(by_width) and high):
            return 0, 0  # sd-scripts divides by zero here
        by_height = (whole(high * ratio, step), high)
        if abs(by_width[0] / by_width[1] - ratio) < abs(by_height[0] / by_height[1] - ratio):
            resized = (by_width[0], int(by_width[0] / ratio + 0.5))
        else:
            resized = (int(by_height[1] * ratio + 0.5), by_height[1])
    return int(resized[0]) // step * step, int(resized[1]) // step * step


def whole(side: float, step: int) -> int:
    rounded = int(side + 0.5)
    return rounded - rounded % step


def test_buckets_are_equal(case: tuple[Config, configs.Pipeline]) -> None:
    config, pipeline = case
    sides = [int(side) for side in str(config["resolution"]).split(",")]
    size = (sides[0], sides[-1])
    for name in ("dataset", "regularisation"):
        buckets = pipeline.stages[name].buckets()  # type: ignore[attr-defined]
        if config["enable_bucket"] and not config["bucket_no_upscale"]:
            args = (int(str(config[name])) for name in ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps"))
            assert list(buckets.table) == bucket_table(size, *args)
        for picture in SIZES:
            expected = bucket_of(picture, config, size)
            fit = buckets.fit(picture)
            assert (fit.bucket if fit else None) == (expected if min(expected) >= buckets.step else None)


# ------------------------------------------------------------------------------------------------------------ captions


def caption_of(text: str, config: Config, chance: random.Random) -> tuple[list[str], list[str]]:
    """sd-scripts' `process_caption`: the tags that stay at the beginning or end, and those that move."""
    if config["caption_prefix"]:
        text = f"{config['caption_prefix']} {text}"
    if config["caption_suffix"]:
        text = f"{text} {config['caption_suffix']}"
    if not (config["shuffle_caption"] or config["caption_tag_dropout_rate"]):
        return [replaced(text, config)], []
    mark = config["keep_tokens_separator"]
    first, last = "", ""
    if mark and str(mark) in text:
        first, _, text = text.partition(str(mark))
        text, _, last = text.partition(str(mark))
        fixed, flexible = split(first), split(text)
    else:
        tags = split(text)
        kept = int(str(config["keep_tokens"]))
        fixed, flexible = tags[:kept], tags[kept:]
    return [replaced(each, config) for each in (*fixed, *split(last))], [replaced(each, config) for each in flexible]


def split(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def replaced(text: str, config: Config) -> str:
    return text.replace(str(config["secondary_separator"]), ",") if config["secondary_separator"] else text


def test_captions_are_equal(case: tuple[Config, configs.Pipeline]) -> None:
    config, pipeline = case
    captions = pipeline.stages["lora"].captions  # type: ignore[attr-defined]
    assert captions.dropout == config["caption_dropout_rate"]
    assert captions.dropout_epochs == config["caption_dropout_every_n_epochs"]
    assert captions.tag_dropout == config["caption_tag_dropout_rate"]
    for text in CAPTIONS:
        fixed, flexible = caption_of(text, config, random.Random(0))
        for number in range(6):
            result = captions.varied(text, random.Random(number))
            if not (config["shuffle_caption"] or config["caption_tag_dropout_rate"]):
                assert result == fixed[0]
                continue
            wanted = sorted([*fixed, *flexible])
            tags = result.split(", ")
            assert tags[: len(fixed)] == fixed or config["keep_tokens_separator"]
            assert all(tag in tags for tag in fixed)
            assert sorted(tags) == wanted if not config["caption_tag_dropout_rate"] else set(tags) <= {*wanted}
            if not config["shuffle_caption"]:
                loose = [tag for tag in tags if tag in flexible]
                assert loose == [tag for tag in flexible if tag in tags]


# --------------------------------------------------------------------------------------------------------------- rates


def factor(config: Config, step: int, total: int, warmup: int) -> float:
    """diffusers' and transformers' schedules, as sd-scripts builds them; after the warm-up."""
    name = str(config["lr_scheduler"])
    done = (step - warmup) / max(1, total - warmup)
    if name == "linear":
        return max(0.0, 1 - done)
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if name == "cosine_with_restarts":
        return 0.5 * (1 + math.cos(math.pi * ((int(str(config["lr_scheduler_num_cycles"])) * done) % 1)))
    if name == "cosine_with_min_lr":
        least = float(str(config["lr_scheduler_min_lr_ratio"]))
        return 0.5 * (1 + math.cos(math.pi * done)) * (1 - least) + least
    if name == "polynomial":
        rate = float(str(config["learning_rate"]))
        return ((rate - 1e-7) * (1 - done) ** float(str(config["lr_scheduler_power"])) + 1e-7) / rate
    return 1.0


def test_rates_are_equal_at_every_step(case: tuple[Config, configs.Pipeline]) -> None:
    config, pipeline = case
    lora = pipeline.stages["lora"]
    total = int(str(config["max_train_steps"]))
    given = float(str(config["lr_warmup_steps"]))
    warmup = 0 if config["lr_scheduler"] == "constant" else int(given * total) if given < 1 else int(given)
    master = float(str(config["learning_rate"]))
    expected = {
        name: master if config[name] is None else float(str(config[name])) for name in ("unet_lr", "text_encoder_lr")
    }
    for name, rate in expected.items():
        assert lora.rate(name) == pytest.approx(rate, rel=1e-12)  # type: ignore[attr-defined]
    assert lora.steps.count == total  # type: ignore[attr-defined]
    for step in range(total):
        ours = lora.scheduler.factor(step, total, 10.0)  # type: ignore[attr-defined]
        if step >= warmup:
            assert ours == pytest.approx(factor(config, step, total, warmup), abs=1e-9), step
        else:  # sd-scripts wastes the first step on a rate of 0
            assert abs(ours - step / warmup) <= 1 / warmup


# --------------------------------------------------------------------------------------------------------- loss weights


def weight(config: Config, snr: float) -> float:
    if config["min_snr_gamma"]:
        return min(snr, float(str(config["min_snr_gamma"]))) / snr
    return 1 / math.sqrt(min(snr, 1000)) if config["debiased_estimation_loss"] else 1.0


def threshold(config: Config, alpha: float) -> float:
    """sd-scripts' `get_huber_threshold`: at timestep `t` with `alpha` the cumulative product."""
    c = float(str(config["huber_c"]))
    sigma = math.sqrt((1 - alpha) / alpha)
    return (1 - c) / (1 + sigma) ** 2 + c if config["huber_schedule"] == "snr" else c


def test_losses_and_their_weights_are_equal(case: tuple[Config, configs.Pipeline]) -> None:
    config, pipeline = case
    lora = pipeline.stages["lora"]
    betas = [(math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * step / 999) ** 2 for step in range(1000)]
    alphas, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        alphas.append(product)
    schedule, t = discrete("epsilon", torch.tensor(alphas)), torch.arange(0, 1000, 7)
    weights = lora.weighting(schedule, t).tolist()  # type: ignore[attr-defined]
    assert weights == pytest.approx([weight(config, alphas[i] / (1 - alphas[i])) for i in t.tolist()], rel=1e-3)
    for step in (0, 300, 999):
        loss = lora.loss(torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, 1, 1, 1), schedule, torch.tensor([step]))  # type: ignore[attr-defined]
        c = threshold(config, alphas[step])
        rounded = 2 * (math.sqrt(0.25 + c * c) - c)
        expected = {"l2": 0.25, "l1": 0.5, "huber": c * rounded, "smooth_l1": rounded}[str(config["loss_type"])]
        assert float(loss) == pytest.approx(expected, rel=1e-3)
    noise = lora.noise  # type: ignore[attr-defined]
    assert noise.offset == (config["noise_offset"] or 0)
    assert lora.prior_loss_weight == config["prior_loss_weight"]  # type: ignore[attr-defined]


def test_the_other_options_are_equal(case: tuple[Config, configs.Pipeline]) -> None:
    config, pipeline = case
    lora, dataset = pipeline.stages["lora"], pipeline.stages["dataset"]
    told = {
        "train_batch_size": lora.batch, "network_dim": lora.adapter.rank, "network_alpha": lora.adapter.alpha,  # type: ignore[attr-defined]
        "seed": lora.seed, "clip_skip": lora.clip_skip, "max_token_length": lora.max_tokens,  # type: ignore[attr-defined]
        "scale_weight_norms": lora.scale_weight_norms or None, "max_grad_norm": lora.max_grad_norm,  # type: ignore[attr-defined]
        "gradient_accumulation_steps": lora.accumulation, "flip_aug": dataset.augment.flip,  # type: ignore[attr-defined]
        "caption_extension": dataset.caption_extensions[0],  # type: ignore[attr-defined]
    }  # fmt: skip
    assert told == {name: config[name] for name in told}
