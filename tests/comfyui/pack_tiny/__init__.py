"""A ComfyUI pack for tests: stock nodes load SD1.x, SD2 and SDXL checkpoints of 13 to 27 MB, which ComfyUI alone knows not.

ComfyUI tells models apart by their published widths. Here are the same kinds with whatever widths a checkpoint has,
text encoders included. Everything else, from loading to sampling, is ComfyUI's own.
"""

from __future__ import annotations

from typing import Any

import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models
import comfy.text_encoders.sd2_clip
from comfy.supported_models_base import ClipTarget

HEAD = 32
"""Width of a head of the text encoders."""
PUBLISHED = 320
"""Channels of the published U-Nets; all narrower ones are ours."""


def _shape(tensors: Any, embedding: str, inner: str, layer: str) -> dict[str, int]:
    """A text encoder's configuration, from its tensors: the token embedding's, the MLP's, and the layers' names."""
    width = tensors[embedding].shape[1]
    layers = {key.removeprefix(layer).partition(".")[0] for key in tensors if key.startswith(layer)}
    return {
        "hidden_size": width,
        "intermediate_size": tensors[inner].shape[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD,
    }


def _clip_l(tensors: Any, prefix: str) -> dict[str, int]:
    root = f"{prefix}text_model."
    layer = f"{root}encoder.layers."
    return _shape(tensors, f"{root}embeddings.token_embedding.weight", f"{layer}0.mlp.fc1.weight", layer)


def _open_clip(tensors: Any, prefix: str) -> dict[str, int]:
    layer = f"{prefix}transformer.resblocks."
    return _shape(tensors, f"{prefix}token_embedding.weight", f"{layer}0.mlp.c_fc.weight", layer)


def _target(tokenizer: Any, model: Any, shapes: dict[str, dict[str, int]]) -> ClipTarget:
    def build(device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> Any:
        return model(device=device, dtype=dtype, model_options={**(model_options or {}), **shapes})

    return ClipTarget(tokenizer, build)


class TinySD15(comfy.supported_models.SD15):
    """SD1.x of any width."""

    @classmethod
    def matches(cls, unet_config: Any, state_dict: Any = None, **others: Any) -> bool:
        """Is it a narrow U-Net with convolutions around its transformer blocks?"""
        narrow = unet_config.get("model_channels", PUBLISHED) < PUBLISHED
        return narrow and not unet_config["use_linear_in_transformer"] and unet_config["adm_in_channels"] is None

    def clip_target(self, state_dict: Any = None) -> ClipTarget:
        """The text encoder, of the checkpoint's width."""
        shapes = {"clip_l_model_config": _clip_l(state_dict, "cond_stage_model.transformer.")}
        return _target(comfy.sd1_clip.SD1Tokenizer, comfy.sd1_clip.SD1ClipModel, shapes)


class TinySD2(comfy.supported_models.SD20):
    """SD2 of any width."""

    @classmethod
    def matches(cls, unet_config: Any, state_dict: Any = None, **others: Any) -> bool:
        """Is it a narrow U-Net with Linear layers around its transformer blocks?"""
        narrow = unet_config.get("model_channels", PUBLISHED) < PUBLISHED
        return narrow and unet_config["use_linear_in_transformer"] and unet_config["adm_in_channels"] is None

    def clip_target(self, state_dict: Any = None) -> ClipTarget:
        """The text encoder, of the checkpoint's width."""
        shapes = {"clip_h_model_config": _open_clip(state_dict, "cond_stage_model.model.")}
        clip = comfy.text_encoders.sd2_clip
        return _target(clip.SD2Tokenizer, clip.SD2ClipModel, shapes)


class TinySDXL(comfy.supported_models.SDXL):
    """SDXL of any width."""

    @classmethod
    def matches(cls, unet_config: Any, state_dict: Any = None, **others: Any) -> bool:
        """Is it a narrow U-Net that is told of a picture's shape?"""
        narrow = unet_config.get("model_channels", PUBLISHED) < PUBLISHED
        return narrow and unet_config["use_linear_in_transformer"] and unet_config["adm_in_channels"] is not None

    def clip_target(self, state_dict: Any = None) -> ClipTarget:
        """Both text encoders, of the checkpoint's widths."""
        shapes = {
            "clip_l_model_config": _clip_l(state_dict, "conditioner.embedders.0.transformer."),
            "clip_g_model_config": _open_clip(state_dict, "conditioner.embedders.1.model."),
        }
        return _target(comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel, shapes)


comfy.supported_models.models[:0] = [TinySD15, TinySD2, TinySDXL]
NODE_CLASS_MAPPINGS: dict[str, type] = {}
