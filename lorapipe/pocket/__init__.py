"""The bundled pocket base: a latent diffusion model small enough to ship, and the drawings that it was trained on.

`BASE` is an ordinary diffusers Stable Diffusion folder (CLIPTextModel, UNet2DConditionModel, AutoencoderKL; 64x64
pictures) and `CLIP` an ordinary transformers CLIP folder that scores its pictures. `TAGGER` names the world's tags in
pictures; it has the layout of the WD14 taggers. `tools/pocket/` in the repository trained all three.

    world      attributes of creatures, each value named by its tag; sampling and captions
    draw       draws a creature, with `pen`, `scenes` and `hats_and_items`
    subject_penny, style_neon, concept_lantern   three subjects that the base has never seen, for a first LoRA
    examples   their picture folders

This module imports no heavy package.
"""

from pathlib import Path

BASE = Path(__file__).parent / "base"
CLIP = Path(__file__).parent / "clip"
TAGGER = Path(__file__).parent / "tagger"
CFG = 4.0
"""Usual guidance scale: at Stable Diffusion's 7 its colours are overdone."""
