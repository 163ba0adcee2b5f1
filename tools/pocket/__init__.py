"""The factory of the bundled base: trains and publishes what lies in `lorapipe/pocket/base` and `lorapipe/pocket/clip`.

Both are trained from nothing but the drawings of `lorapipe.pocket`:

    tokenizer          CLIP's byte-pair encoding over the world's words
    vae, clip, unet    the trainings, each one resumable command, on a processor or a GPU
    train              the training loop that they share
    subjects           drawings from outside the world: animals, vehicles, plants, signs, faces, things
    pools              drawings by the ten thousand with their tags and captions
    publish            weights → diffusers and transformers folders
    clip_score         how often samples show what the caption asked

`python -m tools.pocket --help`, from the top of the repository, lists the commands. This module imports no heavy package.
"""
