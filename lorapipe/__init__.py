"""lorapipe: a folder of pictures goes in, a LoRA that works and the proof come out."""

__version__ = "0.1.0"
