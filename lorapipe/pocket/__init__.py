"""The bundled tiny world: a latent-diffusion model small enough to ship, and everything that made it.

`BASE` is an ordinary diffusers Stable Diffusion folder (CLIPTextModel, UNet2DConditionModel, AutoencoderKL; 64x64
pictures) and `CLIP` an ordinary transformers CLIP folder that scores its pictures. Both were trained from nothing but
the drawings in this package:

    world      what a creature can be: attributes, each value named by its tag; sampling and captions
    draw       a creature becomes a picture
    tokenizer  CLIP's byte-pair encoding over the world's words
    vae, clip, unet                 the trainings, each one resumable command
    score      how often samples show what the caption asked
    character, style, examples      two subjects the base has never seen, for a first LoRA

`python -m lorapipe.pocket --help` lists the commands that rebuild them. This module imports no heavy package.
"""

from pathlib import Path

BASE = Path(__file__).parent / "base"
CLIP = Path(__file__).parent / "clip"
CFG = 4.0
"""How strongly a prompt should guide it: at Stable Diffusion's 7 its colours are overdone."""
