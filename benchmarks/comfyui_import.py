"""What the nodes cost when ComfyUI starts: CPU seconds of their import, their descriptions, and ComfyUI's schemas.

    python benchmarks/comfyui_import.py [ROUNDS]

Each round is a process of its own, which first imports what ComfyUI has loaded by then (numpy, Pillow, yaml, SQLite), so
that only the rest counts. ComfyUI's API is the stand-in of tests/fake_comfy. It also prints which large packages were
imported for the nodes: there should be none.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGE = ("torch", "diffusers", "transformers", "accelerate", "peft", "onnxruntime", "jsonschema")
ROUND = f"""
import asyncio, concurrent.futures, http.client, importlib.metadata, json, logging, sqlite3, sys, tempfile, time
import numpy, PIL.Image, yaml
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests/fake_comfy")!r}]
import comfy_api.latest, folder_paths
folder_paths.set_base(__import__("pathlib").Path(tempfile.mkdtemp()))
times, before = [time.process_time()], set(sys.modules)
from comfy_nodes import bridge
times.append(time.process_time())
extension = bridge.extension()
times.append(time.process_time())
for cls in asyncio.run(extension.get_node_list()):
    cls.define_schema()
times.append(time.process_time())
large = sorted({{each.partition(".")[0] for each in set(sys.modules) - before}} & set({LARGE!r}))
print(json.dumps([[after - before for before, after in zip(times, times[1:])], large]))
"""


def main(rounds: int) -> None:
    """Measure, and print the medians."""
    found = [
        json.loads(subprocess.run([sys.executable, "-c", ROUND], check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds + 1)
    ][1:]  # the first one compiles
    for place, name in enumerate(("import", "descriptions", "schemas")):
        print(f"{name:<13} {statistics.median(times[place] for times, _ in found):5.2f} CPU s")
    print(f"{'together':<13} {statistics.median(sum(times) for times, _ in found):5.2f} CPU s")
    print(f"large packages imported for them: {', '.join(found[0][1]) or 'none'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
