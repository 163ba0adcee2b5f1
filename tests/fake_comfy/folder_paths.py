"""A fake of `folder_paths`: ComfyUI's folders below a base folder."""

from pathlib import Path

BASE = Path()
folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}


def set_base(base):
    global BASE
    BASE = Path(base)
    folder_names_and_paths.clear()
    for kind in ("checkpoints", "loras", "vae"):
        folder_names_and_paths[kind] = ([str(BASE / "models" / kind)], {".safetensors"})
    for folder in ("input", "output", "temp", *(f"models/{kind}" for kind in folder_names_and_paths)):
        (BASE / folder).mkdir(parents=True, exist_ok=True)


def get_output_directory():
    return str(BASE / "output")


def get_input_directory():
    return str(BASE / "input")


def get_temp_directory():
    return str(BASE / "temp")


def get_directory_by_type(kind):
    return str(BASE / kind) if kind in ("input", "output", "temp") else None


def get_folder_paths(kind):
    return folder_names_and_paths[kind][0][:]


def get_filename_list(kind):
    folders = map(Path, get_folder_paths(kind))
    return sorted(str(file.relative_to(folder)) for folder in folders for file in folder.rglob("*") if file.is_file())


def get_full_path(kind, name):
    if name not in get_filename_list(kind):
        return None
    return next(str(Path(folder, name)) for folder in get_folder_paths(kind) if Path(folder, name).is_file())
