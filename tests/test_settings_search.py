"""`lorapipe show WORD` finds settings by name, kohya's flag or words; misplaced settings get a hint."""

from __future__ import annotations

import pytest

from lorapipe import kohya_flags, settings_search
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.spec import from_dict
from lorapipe.stages import Stage

GUIDE = [
    "network_dim", "network_alpha", "network_module", "unet_lr", "text_encoder_lr", "learning_rate", "optimizer_type",
    "optimizer_args", "use_8bit_adam", "lr_scheduler", "lr_warmup_steps", "lr_scheduler_num_cycles", "max_train_steps",
    "max_train_epochs", "train_batch_size", "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso",
    "bucket_no_upscale", "caption_extension", "shuffle_caption", "keep_tokens", "flip_aug", "color_aug",
    "face_crop_aug_range", "random_crop", "cache_latents", "clip_skip", "max_token_length", "prior_loss_weight",
    "min_snr_gamma", "noise_offset", "scale_weight_norms", "save_every_n_epochs", "xformers", "mixed_precision",
    "gradient_checkpointing", "seed", "train_data_dir", "reg_data_dir", "pretrained_model_name_or_path", "save_model_as",
    "output_name", "multires_noise_iterations", "ip_noise_gamma", "debiased_estimation_loss", "loss_type", "huber_c",
    "masked_loss", "network_dropout", "v_parameterization", "training_comment", "logging_dir",
]  # fmt: skip


@pytest.mark.parametrize("flag", GUIDE)
def test_every_flag_of_the_guide_leads_somewhere(flag: str) -> None:
    told = settings_search.search(f"--{flag}")
    assert flag in told


def test_one_finds_by_name_by_flag_and_by_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "min-snr"]) == 0
    assert capsys.readouterr().out.startswith("weighting min_snr")
    assert main(["show", "--noise_offset"]) == 0
    assert capsys.readouterr().out.startswith("stage train\n  noise.offset: number")
    assert main(["show", "--network-dim"]) == 0
    told = capsys.readouterr().out
    assert "adapter lora\n  rank:" in told and "adapter locon\n  rank:" in told
    assert main(["show", "--sdpa"]) == 0
    assert "nothing to set" in capsys.readouterr().out
    assert main(["show", "left", "right", "differ"]) == 0
    assert "augment.flip" in capsys.readouterr().out


def test_what_nobody_calls_anything_gets_the_near_miss() -> None:
    with pytest.raises(InputError, match="Did you mean 'network_dim'"):
        settings_search.search("network_dimm")
    with pytest.raises(InputError, match="lists all that can be chosen"):
        settings_search.search("qwertz")


def test_flags_that_are_the_same_lead_to_one_that_is_there() -> None:
    assert set(kohya_flags.SYNONYMS.values()) <= set(kohya_flags.WITHOUT_SETTING)
    taken = {name for place in settings_search.all_settings() for name in (place.knob.name, *place.knob.param.kohya)}
    assert not taken & {*kohya_flags.SYNONYMS, *kohya_flags.WITHOUT_SETTING} - {"train_data_dir"}


@pytest.mark.parametrize(
    ("plain", "cure"),
    [
        ({"network_dim": 8}, "Here it is adapter.rank or adapter.block_size."),
        ({"noise_offset": 0.1}, "Here it is noise.offset."),
        ({"min_snr_gamma": 5}, "Here it is weighting.gamma."),
        ({"train_batch_size": 2}, "Here it is called 'batch'."),
        ({"adapter": {"type": "lora", "conv_dim": 4}}, "It is a setting of adapter locon: conv_rank."),
        ({"captions": {"shuffle_caption": True}}, "Here it is called 'shuffle'."),
        ({"flip_aug": True}, "It is a setting of stage prepare: augment.flip."),
        ({"optimizer": {"type": "dadapt_adam", "d_coef": 2}}, "It is a setting of optimizer prodigy."),
        ({"optimiser": "adamw"}, "Did you mean 'optimizer'?"),
    ],
)
def test_a_setting_in_the_wrong_place_is_led_to_the_right_one(plain: dict[str, object], cure: str) -> None:
    with pytest.raises(InputError) as error:
        from_dict(Stage, {"uses": "train", "dataset": "$dataset", **plain})
    assert [problem.cure for problem in error.value.problems] == [cure]
