"""What does tagging cost around the tagger's model? At most 10 % of the time.

python benchmarks/tagging_time.py [--pictures 48] [--layers 12]

The model is one of random weights in the layout of WD14's taggers: 448 pixels, 784 patches of width 768, and as many
layers of a vision transformer's products as its usual sizes have. The pictures are JPEGs of a million pixels. `model` is
the model alone on pixels that are ready; `stage` is everything that the stage `caption` does with it, reading, digests,
decoding, scaling, tags and the cache of captions, by the clock and of the CPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from new import filled  # noqa: E402

from lorapipe.captioning.taggers import Tagger  # noqa: E402
from lorapipe.spec import from_dict  # noqa: E402
from lorapipe.training.data.cache import Cache  # noqa: E402
from lorapipe.training.data.tagged_pictures import PictureTagger  # noqa: E402
from tools.pocket.onnx_writer import Graph  # noqa: E402

SIDE, PATCH, WIDTH, TAGS = 448, 16, 768, 8000


def write_tagger(folder: Path, layers: int) -> None:
    """Write `model.onnx` and `selected_tags.csv` of a tagger of random weights."""
    folder.mkdir()
    chance = np.random.default_rng(1)
    graph = Graph("random", ("pixels", ["batch", SIDE, SIDE, 3]), ("tags", ["batch", TAGS]))

    def weights(outputs: int, inputs: int, side: int = 1) -> str:
        drawn = chance.standard_normal((outputs, inputs, side, side), np.float32) / (inputs * side * side) ** 0.5
        return graph.constant(drawn)

    name = graph.node("Transpose", ["pixels"], perm=[0, 3, 1, 2])
    name = graph.node("Conv", [name, weights(WIDTH, 3, PATCH)], strides=[PATCH, PATCH])
    for _ in range(layers):
        inner = graph.node("Relu", [graph.node("Conv", [name, weights(4 * WIDTH, WIDTH)])])
        name = graph.node("Add", [name, graph.node("Conv", [inner, weights(WIDTH, 4 * WIDTH)])])
    name = graph.node("Flatten", [graph.node("GlobalAveragePool", [name])], axis=1)
    graph.node("Sigmoid", [graph.node("MatMul", [name, graph.constant(weights_of(chance))])], output="tags")
    (folder / "model.onnx").write_bytes(graph.model("a benchmark"))
    rows = [f"{number},tag_{number},0,1" for number in range(TAGS)]
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]) + "\n", "utf-8")


def weights_of(chance: np.random.Generator) -> Any:
    """Return the last layer's weights, small ones, so that few tags pass."""
    return chance.standard_normal((WIDTH, TAGS), np.float32) / 1000


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the clock and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--layers", type=int, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, tagger = Path(place) / "photos", Path(place) / "tagger"
        folder.mkdir()
        filled(folder, options.pictures, "jpg")
        write_tagger(tagger, options.layers)
        contract: type[Tagger] = Tagger  # type: ignore[type-abstract]
        settings = from_dict(contract, {"type": "wd14", "folder": str(tagger), "threshold": 0.55}, Path())
        model = settings.load("cpu")
        ready = np.zeros((SIDE, SIDE, 3), np.float32)
        batches = [[ready] * settings.batch] * (options.pictures // settings.batch)
        names = sorted(each.name for each in folder.glob("*.jpg"))[: len(batches) * settings.batch]
        stage = PictureTagger(folder, settings, Cache(Path(place) / "cache"), lambda: model)
        alone = timed(lambda: [model.tag(each) for each in batches])
        whole = timed(lambda: [*stage.captions(names)])
    for what, (wall, cpu) in (("model", alone), ("stage", whole)):
        print(f"{what}: {wall:6.2f} s, {cpu:6.2f} CPU s, {cpu / wall:.1f} cores busy")
    print(
        f"around the model: {whole[0] / alone[0] - 1:.1%} of the clock, {1 - alone[1] / whole[1]:.1%} of the CPU seconds"
    )


if __name__ == "__main__":
    main()
