"""Overhead of the engine in CPU seconds: start-up, no-op, trivial stages.

    python benchmarks/engine.py [--times 5] [--peers] [--work FOLDER]

`--peers` installs DVC, Snakemake and doit from PyPI, each into an environment of its own in FOLDER, and measures their
no-op on the same four stages in turn with ours. Times are the minimum of several runs, since other programs only ever
add.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LORAPIPE = [sys.executable, "-m", "lorapipe"]
UNSYNCED = [
    sys.executable,
    "-c",
    "import os, sys; os.fsync = lambda descriptor: None; from lorapipe.cli import main; sys.exit(main(sys.argv[1:]))",
]
"""The same without fsync, to measure its cost."""
FOUR = """\
stages:
  a: {uses: words, folder: texts}
  b: {uses: count, text: $a}
  c: {uses: count, text: $a, word: b}
  d: {uses: keep, tally: $b, others: [$a], to: out.html}
"""
THOUSAND = "stages:\n  a: {uses: words, folder: texts}\n" + "".join(
    f"  s{n}: {{uses: count, text: $a, word: w{n}}}\n" for n in range(999)
)
TWO = "stages:\n  a: {uses: words, folder: texts}\n  b: {uses: count, text: $a}\n"


def cpu_seconds(
    words: list[str], folder: Path, says: str = "", packages: Sequence[Path] = (ROOT, ROOT / "tests" / "toys")
) -> float:
    """Return user + system time of a command and its children; its output must contain `says`."""
    path = os.pathsep.join(map(str, packages))
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / ".user-cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever sets it compiles everything at every start
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if child.returncode or says not in text:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}:\n{text[-2000:]}")
    return used.ru_utime + used.ru_stime


def project(folder: Path, pipeline: str, texts: int = 1, size: int = 6) -> Path:
    """Make a folder with a pipeline and its texts."""
    (folder / "texts").mkdir(parents=True)
    for number in range(texts):
        text = os.urandom(size // 2).hex() if size > 6 else "a b a"
        (folder / "texts" / f"{number:04}.txt").write_text(text, encoding="utf-8")
    (folder / "p.yaml").write_text(pipeline, encoding="utf-8")
    return folder


def ours(work: Path, times: int) -> None:
    """Print our own figures beside their limits."""

    def least(name: str, limit: float, words: list[str], folder: Path, says: str = "") -> None:
        figure = min(cpu_seconds([*LORAPIPE, *words], folder, says) for _ in range(times))
        print(f"  {name:<44} {figure:6.2f}   at most {limit:.2f}")

    run = ["run", "p.yaml", "--quiet"]
    four = project(work / "four", FOUR)
    least("start (--help)", 0.10, ["--help"], four)
    cpu_seconds([*LORAPIPE, *run], four)
    least("four stages, nothing to do", 0.15, run, four)
    thousand = project(work / "thousand", THOUSAND)
    begun = time.perf_counter()
    cold = cpu_seconds([*LORAPIPE, *run], thousand)
    wall = time.perf_counter() - begun
    print(f"  {'1,000 trivial stages, all to do':<44} {cold:6.2f}   at most 15.00   {wall:.1f} s by the clock")
    begun = time.perf_counter()
    unsynced = cpu_seconds([*UNSYNCED, *run], project(work / "unsynced", THOUSAND))
    wall = time.perf_counter() - begun
    print(f"  {'the same, nothing synced':<44} {unsynced:6.2f}                   {wall:.1f} s by the clock")
    least("1,000 stages, nothing to do", 0.35, run, thousand)
    many = project(work / "many", TWO, texts=2000, size=100_000)
    for file in (many / "texts").iterdir():
        os.utime(file, (1e9, 1e9))
    cpu_seconds([*LORAPIPE, *run], many)
    least("2,000 files of 100 KB, nothing to do", 0.20, run, many)
    (many / "texts" / "0777.txt").write_text("a b c", encoding="utf-8")
    least("the same after one edit: plan names the file", 0.20, ["plan", "p.yaml"], many, "1 caption changed: 0777.txt")


# ----------------------------------------------------------------------------------------------------------------- peers

STEPS = {"a": ([], "a.txt"), "b": (["a.txt"], "b.txt"), "c": (["a.txt"], "c.txt"), "d": (["b.txt", "a.txt"], "d.txt")}
"""The same four stages for the other programs: each joins its inputs."""
JOIN = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x'.join(map(str, sys.argv)))"


def dvc(folder: Path, tool: Path) -> list[str]:
    """Write dvc.yaml."""
    (folder / "join.py").write_text(JOIN, encoding="utf-8")
    lines = ["stages:"]
    for name, (needs, out) in STEPS.items():
        lines += [
            f"  {name}:",
            f"    cmd: {sys.executable} join.py {out} {' '.join(needs)}",
            "    deps: [join.py, texts",
        ]
        lines[-1] += "".join(f", {need}" for need in needs) + "]"
        lines += [f"    outs: [{out}]"]
    (folder / "dvc.yaml").write_text("\n".join(lines), encoding="utf-8")
    subprocess.run([tool / "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
    return [str(tool / "dvc"), "repro", "-q"]


def snakemake(folder: Path, tool: Path) -> list[str]:
    """Write a Snakefile."""
    (folder / "join.py").write_text(JOIN, encoding="utf-8")
    rules = ["rule all:\n    input: " + ", ".join(repr(out) for _, out in STEPS.values())]
    for name, (needs, out) in STEPS.items():
        inputs = ", ".join(map(repr, [*needs, "texts/0000.txt"]))
        rules.append(f"rule {name}:\n    input: {inputs}\n    output: {out!r}\n")
        rules[-1] += f"    shell: '{sys.executable} join.py {{output}} {{input}}'"
    (folder / "Snakefile").write_text("\n".join(rules), encoding="utf-8")
    return [str(tool / "snakemake"), "-c1", "-q", "all"]


def doit(folder: Path, tool: Path) -> list[str]:
    """Write dodo.py."""
    (folder / "join.py").write_text(JOIN, encoding="utf-8")
    tasks = []
    for name, (needs, out) in STEPS.items():
        action = f"{sys.executable} join.py {out} {' '.join(needs)}"
        files = ["texts/0000.txt", *needs]
        tasks.append(
            f"def task_{name}():\n    return dict(actions=[{action!r}], file_dep={files!r}, targets=[{out!r}])"
        )
    (folder / "dodo.py").write_text("\n".join(tasks), encoding="utf-8")
    return [str(tool / "doit"), "-v0"]


PEERS: dict[str, Callable[[Path, Path], list[str]]] = {"dvc": dvc, "snakemake": snakemake, "doit": doit}


def peers(work: Path, times: int) -> None:
    """Measure the no-op of four stages, each program in turn."""
    four = project(work / "four-peers", FOUR)
    commands = {"lorapipe": ([*LORAPIPE, "run", "p.yaml", "--quiet"], four)}
    for name, write in PEERS.items():
        environment = work.parent / f"peer-{name}"
        tool = environment / ("Scripts" if sys.platform == "win32" else "bin")
        if not tool.exists():
            venv.create(environment, with_pip=True)
            subprocess.run([tool / "pip", "install", "-q", name], check=True)
        folder = project(work / f"peer-{name}", FOUR)
        commands[name] = (write(folder, tool), folder)
    figures: dict[str, list[float]] = {name: [] for name in commands}
    for words, folder in commands.values():
        cpu_seconds(words, folder)
    for _ in range(times):
        for name, (words, folder) in commands.items():
            figures[name].append(cpu_seconds(words, folder))
    for name, found in figures.items():
        print(f"  {name:<12} {min(found):6.2f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-engine")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        print("CPU seconds of the whole command")
        ours(Path(folder), options.times)
        if options.peers:
            print("Four stages, nothing to do, in turn")
            peers(Path(folder), options.times)


if __name__ == "__main__":
    main()
