"""Installs lorapipe where the whole repository is cloned into ComfyUI's custom_nodes; ComfyUI-Manager runs this file."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).with_name("comfy_nodes") / "install.py"), run_name="__main__")
