"""The import table. Data flows one way; the half that describes and plans never imports the half that computes.

Imports are read from the source's syntax trees: those inside functions count, those for type checkers do not.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REGISTRIES = ("adapters", "optimizers", "schedulers", "losses", "peft_methods")
CONTRACTS = ("=lorapipe.models", *(f"=lorapipe.training.{name}" for name in REGISTRIES))
JOB = (
    "trainer", "options", "record", "snapshots", "previews", "distributed_launch", "initial_weights", "training_continuation"
)  # fmt: skip
"""Modules of the training job, which joins otherwise independent parts: the stage's context, files, pictures."""
EVIDENCE = ("lorapipe.evaluation.probe", "lorapipe.evaluation.probe_losses", "lorapipe.evaluation.sampler")
"""What early stopping and evaluation both use to measure a training."""
LIGHT = ("lorapipe.spec", "lorapipe.errors", "lorapipe.limits", "lorapipe.percent")
SHARED = (
    "lorapipe.atomic",
    "=lorapipe.captioning.edits",
    "lorapipe.captioning.tags",
    "lorapipe.checksum",
    "lorapipe.kohya_folders",
    "lorapipe.drawing",
    "lorapipe.picture_files",
    "lorapipe.regular_files",
    "lorapipe.series",
    "lorapipe.whole_words",
)
ENGINE = (
    "lorapipe.pipeline", "lorapipe.registry", "lorapipe.atomic", "lorapipe.file_signatures", "lorapipe.fsync",
    "lorapipe.library_imports", "lorapipe.regular_files", "lorapipe.supervised_thread", "lorapipe.user_folders", *LIGHT
)  # fmt: skip
JOBS = ("lorapipe.job_queue", "lorapipe.watch", "lorapipe.page")
FRONT = (
    "lorapipe.cli",
    "lorapipe.commands",
    "lorapipe.run_display",
    "lorapipe.terminal",
    "lorapipe.settings_reference",
    "lorapipe.settings_search",
    "lorapipe.kohya_flags",
)

TABLE: dict[str, tuple[str, ...]] = {
    "lorapipe.limits": (),
    "lorapipe.errors": ("lorapipe.limits",),
    "lorapipe.registry": ("lorapipe.errors",),
    "lorapipe.library_imports": (),
    "lorapipe.training.model_libraries": ("lorapipe.library_imports",),
    "lorapipe.spec": ("lorapipe.registry", "lorapipe.regular_files", *LIGHT),
    "lorapipe.pipeline": ("=lorapipe.stages", *ENGINE),
    "lorapipe.training.diffusion": ("lorapipe.training.solver_names",),
    "lorapipe.training.solver_names": (),
    **{f"lorapipe.training.{name}": (f"=lorapipe.training.{name}", *LIGHT) for name in REGISTRIES},
    "lorapipe.models": (
        "=lorapipe.models", "=lorapipe.pocket", "lorapipe.file_signatures", "lorapipe.training.diffusion", *LIGHT
    ),
    "lorapipe.training.adapters": (
        "=lorapipe.training.adapters", "lorapipe.training.adapter_layers", "=lorapipe.training.peft_methods",
        "=lorapipe.formats", "lorapipe.formats.algorithms", *LIGHT
    ),
    "lorapipe.training.adapter_layers": (
        "lorapipe.training.adapter_layers", "=lorapipe.training.adapters", "=lorapipe.training.peft_methods",
        "=lorapipe.formats", "lorapipe.formats.algorithms", *LIGHT
    ),
    "lorapipe.training.data": ("lorapipe.training.data", "lorapipe.training.seeds", "=lorapipe.models", *SHARED, *LIGHT),
    "lorapipe.training.data.caption_audit": ("lorapipe.caption_analysis.tag_index",),
    "lorapipe.training.data.dataset_page": (
        "lorapipe.training.data", "lorapipe.caption_analysis", "lorapipe.evaluation.translations", *SHARED
    ),
    "lorapipe.training.noise": ("lorapipe.training.diffusion", "lorapipe.training.seeds"),
    "lorapipe.training.seeds": (),
    "lorapipe.training.data_parallel": (),
    "lorapipe.training.loop": (
        "lorapipe.training.data_parallel", "lorapipe.training.diffusion", "lorapipe.training.noise",
        "lorapipe.training.seeds"
    ),
    "lorapipe.training.data.training_set": (
        "lorapipe.training.data", "lorapipe.training.caption_augment", "lorapipe.pipeline.artifacts",
        "lorapipe.pipeline.events", *SHARED, *LIGHT
    ),
    **{f"lorapipe.training.data.{name}": (
        "lorapipe.training.data", "lorapipe.training.device", "lorapipe.pipeline.events", *SHARED, *LIGHT
    ) for name in ("build", "image_folder", "messages", "progress")},
    "lorapipe.training.data.tagged_pictures": (
        "lorapipe.training.data", "=lorapipe.captioning.taggers", *SHARED, *LIGHT
    ),
    "lorapipe.training.data.caption_build": (
        "lorapipe.training.data", "lorapipe.captioning", "lorapipe.training.device", "lorapipe.pipeline.context",
        "lorapipe.pipeline.events", *SHARED, *LIGHT
    ),
    **{f"lorapipe.training.{name}": (
        "lorapipe.training", "=lorapipe.models", "lorapipe.formats", "lorapipe.evaluation.sampler", "lorapipe.metadata",
        "lorapipe.training_record", "lorapipe.supervised_thread", "lorapipe.pipeline.artifacts", "lorapipe.pipeline.context",
        "lorapipe.pipeline.events", *SHARED, *LIGHT
    ) for name in JOB},
    "lorapipe.training.early_stop": (
        "lorapipe.training", "=lorapipe.models", *EVIDENCE, "lorapipe.pipeline.context", "lorapipe.pipeline.events",
        *SHARED, *LIGHT
    ),
    "lorapipe.training.early_stop_rule": ("lorapipe.evaluation.probe_losses",),
    "lorapipe.training": (
        "lorapipe.training", "=lorapipe.models", "=lorapipe.formats", "lorapipe.library_imports",
        "lorapipe.pipeline.events", *SHARED, *LIGHT
    ),
    "lorapipe.formats": (
        "lorapipe.formats", "lorapipe.atomic", "lorapipe.file_signatures", "lorapipe.regular_files",
        "lorapipe.models._safetensors_writer", "lorapipe.models._tensor_index", "lorapipe.models._weight_files",
        "lorapipe.lora_tools.truncated_svd", *LIGHT
    ),
    "lorapipe.formats.algorithms": ("=lorapipe.formats.algorithms", "lorapipe.registry", *LIGHT),
    "lorapipe.inspection": (
        "lorapipe.inspection", "lorapipe.formats", "lorapipe.models._folder_detection",
        "lorapipe.models._model_detection", "lorapipe.models._tensor_index", "lorapipe.file_signatures",
        "lorapipe.regular_files", *LIGHT
    ),
    **{f"lorapipe.inspection.{name}": (
        "lorapipe.inspection", "lorapipe.formats.algorithms", "lorapipe.pipeline.yaml_text", "lorapipe.training.options",
        *CONTRACTS, *LIGHT
    ) for name in ("training_pipeline", "_kohya_network", "_kohya_settings", "_metadata_values")},
    "lorapipe.inspection.readers": (
        "=lorapipe.inspection.readers", "lorapipe.inspection._module_names", "=lorapipe.formats.algorithms",
        "lorapipe.registry", *LIGHT
    ),
    "lorapipe.lora_tools": (
        "lorapipe.lora_tools", "lorapipe.formats", "lorapipe.training.adapter_layers.block_widths",
        "=lorapipe.inspection", "=lorapipe.models", "lorapipe.metadata",
        "lorapipe.models._checkpoint_writer", "lorapipe.models._folder_detection", "lorapipe.models._model_detection",
        "lorapipe.models._safetensors_writer", "lorapipe.models._tensor_index", "lorapipe.models._weight_files",
        "lorapipe.inspection.base_family", "lorapipe.inspection.training_pipeline",
        "=lorapipe.pocket", "lorapipe.pipeline.delivery_log", "lorapipe.atomic", "lorapipe.fsync", *LIGHT
    ),
    "lorapipe.evaluation": (
        "lorapipe.evaluation", "lorapipe.registry", "lorapipe.formats", "=lorapipe.training.adapters",
        "lorapipe.training.data",
        "lorapipe.training.diffusion", "=lorapipe.models", "lorapipe.training.model_contexts",
        "lorapipe.training.noise", "lorapipe.training.seeds", "lorapipe.training.cuda_graphs",
        "lorapipe.training.graph_obstacles", "lorapipe.pipeline.events", *SHARED, *LIGHT
    ),
    "lorapipe.evaluation.comparison": ("lorapipe.evaluation", "lorapipe.training_record"),
    "lorapipe.regular_files": (),
    "lorapipe.code_pages": ("lorapipe.common_characters",),
    "lorapipe.common_characters": (),
    "lorapipe.whole_words": (),
    "lorapipe.percent": (),
    "lorapipe.file_signatures": (),
    "lorapipe.fsync": (),
    "lorapipe.user_folders": (),
    "lorapipe.atomic": ("lorapipe.fsync",),
    "lorapipe.checksum": ("lorapipe.atomic", "lorapipe.regular_files"),
    "lorapipe.supervised_thread": ("lorapipe.errors",),
    "lorapipe.kohya_folders": (),
    "lorapipe.pipeline.diff": ("lorapipe.picture_files", *ENGINE),
    "lorapipe.picture_files": (
        "lorapipe.picture_files", "lorapipe.file_signatures", "lorapipe.kohya_folders", "lorapipe.common_characters",
        "lorapipe.regular_files"
    ),
    "lorapipe.captioning": (
        "lorapipe.captioning", "lorapipe.picture_files", "lorapipe.atomic", "lorapipe.regular_files", "lorapipe.whole_words",
        *LIGHT
    ),
    "lorapipe.captioning.taggers": (
        "=lorapipe.captioning.taggers", "lorapipe.captioning.tags", "lorapipe.evaluation.clip", "=lorapipe.pocket",
        "lorapipe.picture_files", "lorapipe.regular_files", *LIGHT
    ),
    "lorapipe.captioning.edits": (
        "=lorapipe.captioning.edits", "lorapipe.captioning.tags", "lorapipe.captioning.tag_counts", "lorapipe.picture_files",
        "lorapipe.regular_files", "lorapipe.whole_words", *LIGHT
    ),
    "lorapipe.drawing": ("lorapipe.drawing",),
    "lorapipe.metadata": (
        "lorapipe.training_record", "=lorapipe.formats", "=lorapipe.formats.algorithms", "=lorapipe.training.adapters",
        "=lorapipe.models"
    ),
    "lorapipe.training_record": ("lorapipe.atomic", *LIGHT),
    "lorapipe.pocket": ("lorapipe.pocket",),
    "lorapipe.rules": (
        "=lorapipe.rules", "lorapipe.captioning.tags", "lorapipe.training.subjects", "lorapipe.training.data.trigger_word",
        "lorapipe.training.data.caption_kinds", "lorapipe.registry",
        "lorapipe.whole_words", *LIGHT
    ),
    "lorapipe.starting_settings": (
        "lorapipe.starting_settings", "lorapipe.rules", "=lorapipe.stages", "lorapipe.captioning.tags",
        "lorapipe.evaluation.prompts", "=lorapipe.models", "=lorapipe.pocket", "lorapipe.training.data",
        "lorapipe.training.subjects", "lorapipe.training.memory_estimate", "lorapipe.training.training_memory",
        "lorapipe.user_folders",
        "lorapipe.watch.folder_names", "lorapipe.pipeline.yaml_text", *SHARED, *LIGHT
    ),
    "lorapipe.caption_analysis": (
        "lorapipe.caption_analysis", "lorapipe.captioning.caption_files", "lorapipe.captioning.tags",
        "lorapipe.picture_files.captions", "lorapipe.training.data.caption_kinds",
        "lorapipe.training.data.trigger_word",
        "lorapipe.whole_words", *LIGHT
    ),
    "lorapipe.tag_editor": (
        "lorapipe.tag_editor", "lorapipe.caption_analysis", "lorapipe.captioning", "=lorapipe.captioning.edits",
        "lorapipe.page.answers", "lorapipe.starting_settings.picture_facts", "lorapipe.training.data",
        "lorapipe.supervised_thread", "lorapipe.user_folders", *SHARED, *LIGHT
    ),
    "lorapipe.commands.tags": (
        "lorapipe.caption_analysis", "lorapipe.tag_editor", "lorapipe.starting_settings.picture_facts",
        "lorapipe.training.data", *JOBS, *SHARED, *FRONT, *ENGINE
    ),
    "lorapipe.commands.new": (
        "lorapipe.starting_settings", "=lorapipe.models", "=lorapipe.pocket", *FRONT, *ENGINE
    ),
    "lorapipe.stages": (
        "=lorapipe.stages", "=lorapipe.rules", "lorapipe.training", "=lorapipe.models", "lorapipe.formats",
        "lorapipe.evaluation", "lorapipe.inspection", "lorapipe.lora_tools", "lorapipe.captioning",
        "lorapipe.metadata", "lorapipe.training_record", *SHARED, *ENGINE
    ),
    "lorapipe.__main__": FRONT,
    "lorapipe.cli": (*FRONT, *ENGINE),
    "lorapipe.commands": (*FRONT, *JOBS, "lorapipe.tuning", *ENGINE),
    "lorapipe.tuning": (
        "lorapipe.tuning", "lorapipe.evaluation.diagnosis", "lorapipe.evaluation.html_page",
        "lorapipe.evaluation.grid_plan", "lorapipe.evaluation.image_store", "lorapipe.evaluation.report_data",
        "lorapipe.training_record", *ENGINE
    ),
    "lorapipe.job_queue": ("lorapipe.job_queue", "lorapipe.series", "lorapipe.tuning", *ENGINE),
    "lorapipe.series": (),
    "lorapipe.watch": (
        "lorapipe.watch", "lorapipe.starting_settings", "=lorapipe.models", "=lorapipe.pocket", "lorapipe.training.subjects",
        "=lorapipe.captioning.edits", "=lorapipe.captioning.taggers",
        "lorapipe.job_queue", "lorapipe.code_pages", "lorapipe.kohya_folders", "lorapipe.picture_files",
        "lorapipe.whole_words", *ENGINE
    ),
    "lorapipe.page": ("lorapipe.page", "lorapipe.job_queue", *ENGINE),
    "lorapipe.commands.schema": (
        "comfy_nodes", "lorapipe.evaluation.report_data", "lorapipe.training.data.captions_document",
        "lorapipe.training.data.manifest", "lorapipe.training.data.generated_pictures", *FRONT, *ENGINE
    ),
    "lorapipe.commands.workflow": ("comfy_nodes", *FRONT, *ENGINE),
    "lorapipe.commands.extract": ("lorapipe.lora_tools", *FRONT, *ENGINE),
    "lorapipe.commands.resize": ("lorapipe.lora_tools", *FRONT, *ENGINE),
    "lorapipe.commands.merge": ("lorapipe.lora_tools", *FRONT, *ENGINE),
    "lorapipe.commands.convert": ("lorapipe.lora_tools", *FRONT, *ENGINE),
    "lorapipe.commands.caption": ("lorapipe.captioning", "lorapipe.picture_files", *FRONT, *ENGINE),
    "lorapipe.commands._one_stage": ("=lorapipe.stages", *FRONT, *ENGINE),
    "lorapipe.commands.inspect": ("=lorapipe.inspection", *FRONT, *ENGINE),
    "lorapipe.terminal": (),
    "lorapipe.run_display": ("lorapipe.terminal", *ENGINE),
    "lorapipe.settings_reference": ("=lorapipe.rules", *FRONT, *ENGINE),
    "lorapipe.kohya_flags": (),
    "lorapipe.settings_search": (*FRONT, *ENGINE),
    "lorapipe.config_import": (
        "lorapipe.config_import", "lorapipe.kohya_flags", "lorapipe.kohya_folders", "lorapipe.picture_files",
        "lorapipe.inspection.training_pipeline", *ENGINE
    ),
    "lorapipe.commands.import": ("lorapipe.config_import", *FRONT, *ENGINE),
    "lorapipe": ("lorapipe.api",),
    "lorapipe.api": ("lorapipe.tuning", *ENGINE),
    "comfy_nodes": ("comfy_nodes", "=lorapipe.stages", *ENGINE),
    "comfy_nodes.node_execution": ("comfy_nodes", "=lorapipe.stages", "lorapipe.tuning.rounds", *ENGINE),
    "comfy_nodes.graph_runner": (
        "comfy_nodes", "lorapipe.tuning.rounds", "lorapipe.tuning.run_class", "lorapipe.tuning.tuned_files",
        "lorapipe.tuning.tuner", *ENGINE
    ),
    "comfy_nodes.graph_nodes.base_model": (
        "comfy_nodes", "=lorapipe.models", "lorapipe.starting_settings.base_facts", *ENGINE
    ),
    "comfy_nodes.graph_nodes.queue_pipeline": ("comfy_nodes", "lorapipe.job_queue", *ENGINE),
    "comfy_nodes.graph_nodes.apply_weights": ("comfy_nodes", "lorapipe.inspection.adapter_updates", *ENGINE),
    "comfy_nodes.translations": ("comfy_nodes", "lorapipe.evaluation.translations", *ENGINE),
    "comfy_nodes.results": ("comfy_nodes", "lorapipe.drawing", *ENGINE),
    "comfy_nodes.paths": ("comfy_nodes", "lorapipe.pocket.examples", *ENGINE),
}  # fmt: skip
"""Module or package → its allowed imports: packages with all their modules, or (`=`) only their `__init__`."""

TORCH_FREE = (
    "limits", "errors", "file_signatures", "regular_files", "code_pages", "common_characters", "supervised_thread",
    "library_imports", "user_folders",
    "series", "captioning", "registry", "spec", "pipeline", "job_queue", "watch", "page", "cli", "commands",
    "terminal", "run_display", "rules", "settings_reference", "settings_search", "kohya_flags", "config_import", "__main__",
)  # fmt: skip
"""Modules that may import no third-party packages but `SMALL_PACKAGES` and their own `CLIENTS`."""
SMALL_PACKAGES = frozenset({"yaml", "rich"})
COMFYUI = frozenset(
    {
        "aiohttp",
        "comfy",
        "comfy_api",
        "comfy_execution",
        "comfy_extras",
        "folder_paths",
        "nodes",
        "numpy",
        "PIL",
        "server",
    }
    | {"torch"}
)
"""Packages that ComfyUI has imported before it loads the nodes."""
KNOW_COMFYUI = (
    "comfy_nodes.bridge",
    "comfy_nodes.comfy_folders",
    "comfy_nodes.node_display",
    "comfy_nodes.node_execution",
    "comfy_nodes.node_outputs",
    "comfy_nodes.graph_nodes.",
    "comfy_nodes.image_tensors",
    "comfy_nodes.results",
    "comfy_nodes.result_pages",
    "comfy_nodes.saving_nodes",
)
"""Modules, and packages (with a dot), that import ComfyUI."""
CLIENTS = {
    "lorapipe.captioning.taggers": {"PIL"},
    "lorapipe.captioning.taggers.clip": {"numpy", "PIL"},
    "lorapipe.captioning.taggers._image_to_text": {"PIL", "torch", "transformers"},
    "lorapipe.captioning.taggers._onnx_session": {"numpy", "onnxruntime"},
    "lorapipe.captioning.taggers._onnx_interpreter": {"numpy", "torch"},
    "lorapipe.captioning.taggers._wd14_model": {"numpy", "PIL"},
    "lorapipe.pipeline.execution.launchers.slurm": {"submitit"},
    "lorapipe.pipeline.execution.launchers.ray": {"ray"},
    "lorapipe.spec.validation": {"jsonschema"},
    "lorapipe.watch.fs_events": {"watchdog"},
    "lorapipe.user_folders": {"platformdirs"},
}
"""Module → packages that it imports on first use, such as a launcher's when the launcher is chosen."""
SPEC_BEARING = (
    "lorapipe.stages",
    "lorapipe.captioning.edits",
    "lorapipe.captioning.taggers",
    "lorapipe.formats",
    "lorapipe.formats.algorithms",
    "lorapipe.pipeline.execution.launchers",
    "lorapipe.training.adapter_layers.lora_knobs",
    *(contract.removeprefix("=") for contract in CONTRACTS),
)
"""Packages whose modules are imported to draw menus: at the top only the standard library and lorapipe's own modules.
(Their private files are exempt.)"""


def modules() -> dict[str, Path]:
    """Return every module of lorapipe by its dotted name."""
    files = sorted(file for package in ("lorapipe", "comfy_nodes") for file in (ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return dict(zip(names, files, strict=True))


MODULES = modules()


def imports(tree: ast.Module, *, top: bool = False) -> Iterator[str]:
    """Yield the dotted names that a module imports, without those for type checkers; with `top`, only at its top."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "comfy_nodes." if node.level else ""  # ComfyUI loads that package under its own name
            module = f"{package}{node.module or ''}".rstrip(".")
            inner = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else module for name in inner)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not (top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            waiting += ast.iter_child_nodes(node)


def forbidden(module: str, imported: set[str]) -> set[str]:
    """Return the modules of lorapipe that a module imports but must not."""
    row = max((name for name in TABLE if module == name or module.startswith(f"{name}.")), key=len)
    ours = {
        name for name in imported if name.startswith(("lorapipe.", "comfy_nodes"))
    }  # every module may import the version
    allowed = (*TABLE[row], f"{row}._")  # files in a registry folder may share its private modules
    return {name for name in ours if name != module and not any(_within(name, each) for each in allowed)}


def _within(name: str, allowed: str) -> bool:
    if allowed.startswith("="):
        return name == allowed[1:]
    return name == allowed or name.startswith(allowed if allowed.endswith("_") else f"{allowed}.")


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_what_they_may(module: str) -> None:
    assert not forbidden(module, set(imports(ast.parse(MODULES[module].read_text("utf-8")))))


@pytest.mark.parametrize("module", MODULES)
def test_the_describing_half_needs_only_small_packages(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    outside = {name.partition(".")[0] for name in imports(tree)} - sys.stdlib_module_names - {"lorapipe", "comfy_nodes"}
    if module == "lorapipe.stages" or module.removeprefix("lorapipe.").partition(".")[0] in TORCH_FREE:
        assert outside <= SMALL_PACKAGES | CLIENTS.get(module, set())
    if module.startswith("comfy_nodes"):
        assert outside <= (COMFYUI if module.startswith(KNOW_COMFYUI) else frozenset())
        at_top = {name.partition(".")[0] for name in imports(tree, top=True)}
        assert not at_top & COMFYUI
    if any(module == package or re.match(rf"{package}\.[a-z]", module) for package in SPEC_BEARING):
        at_top = {name.partition(".")[0] for name in imports(tree, top=True)}
        assert not at_top - sys.stdlib_module_names - {"lorapipe"}


def test_the_nodes_alone_import_from_beside_them() -> None:
    for module, file in MODULES.items():
        levels = {
            node.level for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
        }
        assert levels <= ({0, 1, 2} if module.startswith("comfy_nodes") else {0})


def test_every_row_is_about_something() -> None:
    assert not [row for row in TABLE if row not in MODULES]


@pytest.mark.parametrize(
    ("module", "line", "refused"),
    [
        ("lorapipe.cli", "from lorapipe.training.loop import train", True),
        ("lorapipe.cli", "import lorapipe.formats", True),
        ("lorapipe.pipeline.execution.runner", "def f():\n    from lorapipe.stages.train import Train", True),
        ("lorapipe.pipeline.execution.runner", "from lorapipe.stages import Stage", False),
        ("comfy_nodes.describe", "from lorapipe.stages.train import Train", True),
        ("comfy_nodes.bridge", "from lorapipe.training.loop import train", True),
        ("comfy_nodes.graph_runner", "from .run_options import Running", False),
        ("lorapipe.commands.run", "from comfy_nodes.describe import nodes", True),
        ("lorapipe.training.adapters.locon", "from lorapipe.training.adapters.lora import Lora", True),
        ("lorapipe.training.loop", "from lorapipe.models import Model", True),
        ("lorapipe.training.loop", "if TYPE_CHECKING:\n    from lorapipe.models import Model", False),
    ],
)
def test_the_table_is_enforced(module: str, line: str, refused: bool) -> None:
    assert bool(forbidden(module, set(imports(ast.parse(line))))) == refused
