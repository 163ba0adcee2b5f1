"""How fast is the tag editor with 5,000 pictures? First thumbnails within 2 s warm, a filter within 100 ms.

CHROMIUM=/usr/bin/chromium PLAYWRIGHT=FOLDER/node_modules/playwright-core python benchmarks/tag_editor.py

In a real headless Chromium: from the request of the page until all pictures in view are loaded, first with no thumbnail made
(cold), then by a new server with those in the cache (warm); and, once the server has looked at every picture, from a click
on a tag, or a letter typed, until the second frame after it is drawn, one after the other as a person does it: the next when
the pictures in view are there. Times are those of a clock; where the machine does other work, the CPU time of the page's
process (all its threads) says what they would be without.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PICTURES, TAGS, EACH, ROUNDS = 5000, 400, 18, 30
SEEN = """
await page.waitForFunction(() => {
  const images = [...document.querySelectorAll('.cell img')];
  return images.length > 0 && images.every((each) => each.complete && each.naturalWidth > 0);
}, null, {timeout: 120000, polling: 20});
"""
AT_REST = """
await page.waitForFunction(() =>
  [...document.querySelectorAll('.cell img')].every((each) => each.hasAttribute('src') && each.complete),
  null, {timeout: 120000, polling: 20});
"""
LOOKED_AT = """
await page.evaluate(async () => {
  while (!(await (await fetch('pictures')).json()).ready) await new Promise((done) => setTimeout(done, 500));
});
"""
FRAMES = "requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begin)))"


def filled(folder: Path) -> None:
    """Write pictures of 512 × 512 pixels as JPEG, each different, with captions of tags."""
    from PIL import Image, ImageDraw

    chance = random.Random(1)
    for number in range(PICTURES):
        image = Image.new("RGB", (512, 512), tuple(chance.randrange(256) for _ in range(3)))
        for _ in range(4):
            x, y = chance.randrange(400), chance.randrange(400)
            ImageDraw.Draw(image).ellipse((x, y, x + 110, y + 110), fill=tuple(chance.randrange(256) for _ in range(3)))
        image.save(folder / f"{number:05}.jpg", quality=85)
        tags = {f"tag {min(int(chance.paretovariate(0.5)), TAGS)}" for _ in range(EACH)}
        (folder / f"{number:05}.txt").write_text(", ".join(["penny", *sorted(tags)]), "utf-8")


def seconds_to_see(folder: Path, environment: dict[str, str], more: bool) -> None:
    """Print the seconds until pictures are seen; with `more`, what filters and scrolling take."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from browsers import Browser

    command = [sys.executable, "-u", "-m", "lorapipe", "tags", str(folder), "--ui"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=environment)
    assert server.stdout
    address = next(line for line in server.stdout if line.startswith("The page: ")).split()[-1]
    browser = Browser()
    try:
        browser.do("await page.setViewportSize({width: 1600, height: 1000}); await page.goto('about:blank');")
        begin, before = time.perf_counter(), cpu_seconds()
        browser.do(f"await page.goto({address!r});{SEEN}")
        seconds, cpu = time.perf_counter() - begin, cpu_seconds() - before
        print(
            f"{'warm' if more else 'cold'}: pictures in view after {seconds:.2f} s; CPU of server and browser {cpu:.2f} s"
        )
        browser.do(LOOKED_AT)
        if more:
            _filters(browser)
    finally:
        browser.close()
        server.kill()
        server.wait()


def cpu_seconds(word: bytes = b"") -> float:
    """Return the CPU seconds so far of this program's children with a word in their command line; Linux alone."""
    parents, seconds = dict[int, int](), dict[int, float]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            is_meant = word in (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        if is_meant:
            seconds[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_ours(process: int) -> bool:
        parent = parents.get(process, 0)
        return parent == os.getpid() or (parent > 1 and is_ours(parent))

    return sum(used for process, used in seconds.items() if is_ours(process))


def _filters(browser: object) -> None:
    from browsers import Browser

    assert isinstance(browser, Browser)
    click = "document.querySelectorAll('#tags .row')[PLACE].click()"
    type_ = (
        "((f) => { f.value = 'tag PLACE'; f.dispatchEvent(new Event('input')); })(document.querySelector('#search'))"
    )
    clear = "document.querySelector('#clear').click()"
    scroll = "document.querySelector('#gallery').scrollTop += 3000"
    for name, action in (("a tag", click), ("a text", type_), ("all again", clear), ("scroll", scroll)):
        took, before = [], cpu_seconds(b"--type=renderer")
        for place in range(ROUNDS):
            did = action.replace("PLACE", str(place % 5 + 1))
            script = f"new Promise((done) => {{ const begin = performance.now(); {did}; {FRAMES}; }})"
            took.append(float(browser.do(f"return await page.evaluate(() => {script});")))
            browser.do(AT_REST)
        cpu = (cpu_seconds(b"--type=renderer") - before) / ROUNDS * 1000
        middle, most = statistics.median(took), max(took)
        print(f"{name:10} {middle:6.1f} ms in the middle, {most:6.1f} ms at most; CPU {cpu:6.1f} ms")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        filled(folder)
        environment = {**os.environ, "XDG_CACHE_HOME": f"{place}/cache", "LORAPIPE_HOME": f"{place}/home"}
        for more in (False, True):
            seconds_to_see(folder, environment, more)


if __name__ == "__main__":
    main()
