"""Parse the names of modules in a file: naming style, part of the model, and block."""

from __future__ import annotations

import re
from dataclasses import dataclass

DENOISER, TEXT, TEXT_2, UNKNOWN = "U-Net", "text encoder", "text encoder 2", "unknown"
"""Names of parts in a report."""
DIFFUSERS_BLOCKS = "(?:down_blocks|mid_block|up_blocks|conv_in|conv_out|conv_norm_out|time_embedding|add_embedding)"
LDM_BLOCKS = "(?:input_blocks|middle_block|output_blocks|time_embed|label_emb|out)"

STYLES: tuple[tuple[str, str, str], ...] = (
    ("kohya", rf"lora_unet_(?={DIFFUSERS_BLOCKS})", DENOISER),
    ("kohya-ldm", rf"lora_unet_(?={LDM_BLOCKS}_)", DENOISER),
    ("kohya", r"lora_te1?_", TEXT),
    ("kohya", r"lora_te2_", TEXT_2),
    ("kohya-oft", r"oft_unet_", DENOISER),
    ("lycoris", r"lycoris_(?:unet_)?", DENOISER),
    ("diffusers", r"unet\.", DENOISER),
    ("diffusers", r"text_encoder\.", TEXT),
    ("diffusers", r"text_encoder_2\.", TEXT_2),
    ("peft", r"unet/", DENOISER),
    ("peft", r"text_encoder/", TEXT),
    ("peft", r"text_encoder_2/", TEXT_2),
    ("peft", rf"/(?={DIFFUSERS_BLOCKS})", DENOISER),
    ("peft", r"/(?=text_model|encoder)", TEXT),
)
"""(style, pattern of the beginning, part); the first match counts."""
BLOCK = re.compile(r"(down_blocks|up_blocks|input_blocks|output_blocks|layers)[._](\d+)|(mid_block|middle_block)")


@dataclass(frozen=True)
class ModuleName:
    """A parsed module name."""

    style: str
    """`kohya` (diffusers' paths), `kohya-ldm` (SDXL's own), `kohya-oft`, `lycoris`, `diffusers` or `peft`; or empty."""
    part: str
    path: str
    """The rest of the name after the part, as in the file."""

    @property
    def block(self) -> str:
        """The block: `down_blocks 1`, `middle_block`, `layers 11`; `others` if there is none."""
        if (found := BLOCK.search(self.path)) is None:
            return "others"
        return found[3] or f"{found[1]} {found[2]}"


def parsed(name: str) -> ModuleName:
    """Parse a module's name; an unknown style is empty."""
    for style, begins, part in STYLES:
        if (found := re.match(begins, name)) is not None:
            return ModuleName(style, part, name[found.end() :])
    return ModuleName("", UNKNOWN, name)
