"""Trains and publishes the bundled models in `lorapipe/pocket/base` and `lorapipe/pocket/clip`.

Both are trained on nothing but the drawings of `lorapipe.pocket`:

tokenizer          CLIP's byte-pair encoding over the world's words
vae, clip, unet    the trainings, each one resumable command, on a CPU or a GPU
train              the training loop that they share
    subjects           drawings from outside the world: animals, vehicles, plants, signs, faces, things
    pools              training sets of drawings with their tags and captions
    publish            writes diffusers and transformers folders
    clip_score         how often samples show what the caption asks for

`python -m tools.pocket --help`, from the top of the repository, lists the commands. This module imports no heavy package.
"""
