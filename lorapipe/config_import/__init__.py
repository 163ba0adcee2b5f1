"""Import of other trainers' configurations: kohya's scripts, TOML and metadata, OneTrainer's and ai-toolkit's files.

A reader (`readers/`) turns a file into options under kohya's names, with their lines. `mapping/` translates them to a
pipeline, and says of each key what became of it; `translation.import_files` does both. Nothing is executed, and nothing
here needs torch.
"""
