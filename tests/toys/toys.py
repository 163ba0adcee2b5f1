"""Small stages for tests of the engine, registered like those of any other package.

They work on text files: `words` joins a folder of texts, `count` counts a word in it, `keep` copies the count to where
the user wants it, and `trouble` fails in the ways that stages fail. `learn` and
`grade` simulate a training and its evaluation.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import time
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from lorapipe.atomic import write_text
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.artifacts import LOCATION, OPEN, Artifact, File, Report, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery import Delivery
from lorapipe.pipeline.events import Metric, Progress
from lorapipe.spec import Destination, Duration, Source, Spec, param
from lorapipe.stages import Stage
from lorapipe.training_record import TrainingRecord


@dataclass(frozen=True)
class Text(Artifact):
    """A text and its sources."""

    path: Path
    origin: Annotated[Path, LOCATION]


@dataclass(frozen=True)
class Tally(Artifact):
    """The count of a word."""

    text: Text
    page: Annotated[Path, OPEN]
    times: int


@dataclass(frozen=True)
class Words(Stage):
    """Joins the texts of a folder."""

    makes: ClassVar = Text
    folder: Source = param(help="a folder of text files")
    upper: bool = param(False, "shout")
    note: str = param("", "a remark for people only", content=False)

    def run(self, context: Context) -> Text:
        text = " ".join(file.read_text("utf-8") for file in sorted(self.folder.path.rglob("*.txt")))
        out = context.out / "text.txt"
        out.write_text(text.upper() if self.upper else text, encoding="utf-8")
        print("joined", len(text), "characters")
        return Text(out, self.folder.path)


@dataclass(frozen=True)
class Count(Stage):
    """Counts a word."""

    makes: ClassVar = Tally
    text: Text = param(help="the text to search")
    word: str = param("a", "what to count")
    least: int = param(0, "counts below this are zero", ge=0, le=100)
    weight: float = param(1.0, "unused", gt=0)
    steps: int = param(1, "how many times to count", ge=1)
    pause: float = param(0.0, "seconds to rest after each", ge=0, content=False)

    def problems(self):
        if self.word == "":
            yield Problem("there is nothing to count.", path=("word",))

    def run(self, context: Context) -> Tally:
        start = 0
        saved = context.resume / "step.txt"
        if saved.exists():
            start = int(saved.read_text())
            print("resumed at", start)
        for step in range(start, self.steps):
            if context.stopping():
                saved.write_text(str(step))
            context.check()
            time.sleep(self.pause)
            context.emit(Metric(step=step, values={"loss": 1 / (step + 1)}))
            context.emit(Progress(step=step + 1, total=self.steps, values={"loss": 1 / (step + 1)}))
        times = self.text.path.read_text("utf-8").split().count(self.word)
        page = context.out / "tally.html"
        page.write_text(f"<p>{times if times >= self.least else 0}</p>", encoding="utf-8")
        return Tally(self.text, page, times)


@dataclass(frozen=True)
class Walk(Stage):
    """Makes steps and saves its state after each, like a training; its diary, outside the store, lists all steps."""

    makes: ClassVar = Text
    diary: Path = param(help="a file to tell it to", content=False)
    to: Destination = param(help="where the number of steps goes", content=False)
    steps: int = param(3, "how many", ge=1)

    def run(self, context: Context) -> Text:
        saved = context.resume / "step.txt"
        for step in range(int(saved.read_text()) if saved.exists() else 0, self.steps):
            with self.diary.open("a", encoding="utf-8") as file:
                file.write(f"{step}\n")
            write_text(f"{step + 1}", saved)
        out = context.out / "walked.txt"
        os.link(saved, out)
        return Text(out, out)

    def deliveries(self):
        yield Delivery("to", self.to, attrgetter("path"))


@dataclass(frozen=True)
class CountOnDevice(Count):
    """Counts a word, on a device."""

    needs_device: ClassVar = True


@dataclass(frozen=True)
class Keep(Stage):
    """Copies texts to a destination."""

    makes: ClassVar = Tally
    tally: Tally = param(help="what to copy")
    others: tuple[Text, ...] = param((), "texts to keep beside it")
    to: Destination = param(help="the file to write", content=False)
    ending: str = param("", "what its name must end in", content=False)
    overwrite: bool = param(False, "whatever is there may go", content=False)

    def problems(self):
        if (found := self.to.complaint(self.ending)) is not None:
            yield Problem(found[0], cure=found[1], path=("to",))

    def deliveries(self):
        yield Delivery("to", self.to, attrgetter("page"), self.ending, self.overwrite)

    def run(self, context: Context) -> Tally:
        page = context.out / "page.html"
        shutil.copyfile(self.tally.page, page)
        return Tally(self.tally.text, page, self.tally.times)


@dataclass(frozen=True)
class Meet(Stage):
    """Ends only when `others` stages of its kind run at the same time."""

    makes: ClassVar = Text
    place: Path = param(help="a folder where they leave a sign", content=False)
    sign: str = param(help="its own name")
    others: int = param(1, "how many to wait for", ge=0)
    patience: float = param(20.0, "seconds to wait", content=False)

    def run(self, context: Context) -> Text:
        self.place.mkdir(exist_ok=True)
        mine = self.place / self.sign
        mine.touch()
        deadline = time.monotonic() + self.patience
        while len(list(self.place.iterdir())) <= self.others:
            if time.monotonic() > deadline:
                raise InputError("nobody came.")
            context.check()
            time.sleep(0.01)
        out = context.out / "met.txt"
        out.write_text(f"{os.getpid()} {context.device}", encoding="utf-8")
        time.sleep(0.1)
        return Text(out, out)


@dataclass(frozen=True)
class MeetOnDevice(Meet):
    """Meets others, on a device."""

    needs_device: ClassVar = True


@dataclass(frozen=True)
class TrainAlone(Stage):
    """Simulates a training, which must be alone on its device: otherwise `text` says which other one it saw."""

    makes: ClassVar = Text
    needs_device: ClassVar = True
    trains: ClassVar = True
    sign: str = param("", "its own name")
    seconds: float = param(0.0, "how long it takes", content=False)
    disturb: bool = param(False, "leave the process changed")

    def run(self, context: Context) -> Text:
        out = context.out / "alone.txt"
        with out.open("w", encoding="utf-8") as file:
            began = time.time()
            time.sleep(self.seconds)
            file.write(f"{began} {time.time()} {os.getpid()} {context.device} {_process()}")
        if self.disturb:
            random.seed(3)
            os.chdir(context.out)
            if "torch" in sys.modules:
                torch = sys.modules["torch"]
                torch.manual_seed(3)
                torch.set_grad_enabled(False)
                torch.set_default_dtype(torch.float64)
                torch.use_deterministic_algorithms(True)
        return Text(out, out)


def _process() -> str:
    """Return the global state of the process that earlier stages may have changed."""
    torch = sys.modules["torch"]
    return f"{torch.is_grad_enabled()} {torch.get_default_dtype()} {torch.are_deterministic_algorithms_enabled()}"


@dataclass(frozen=True)
class Trouble(Stage):
    """Fails in a chosen way."""

    makes: ClassVar = Text
    how: Literal["bug", "input", "memory", "die", "die once", "hang", "nothing", "noise"] = param(
        "bug", "the way to fail"
    )
    text: Text | None = param(None, "something to wait for")

    def run(self, context: Context) -> Text:
        match self.how:
            case "bug":
                raise ZeroDivisionError("one over nothing")
            case "input":
                raise InputError("the picture is broken.", where="a.png", cure="Take it away.")
            case "memory":
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            case "die":
                os._exit(3)
            case "die once":
                survived = context.resume / "died"
                if not survived.exists():
                    survived.touch()
                    os._exit(3)
                out = context.out / "t.txt"
                out.write_text("t")
                return Text(out, out)
            case "hang":
                context.emit(Progress(step=1, total=2))
                time.sleep(60)
            case "noise":
                os.write(1, b"noise from C\n")
                os.write(2, b"a warning from C\n")
                print("noise from Python")
                out = context.out / "t.txt"
                out.write_text("t")
                return Text(out, out)
        return Text(context.out / "missing.txt", context.out)


@dataclass(frozen=True)
class Question(Stage):
    """Asks a person for a word on a device, and writes the answer down."""

    makes: ClassVar = File
    needs_device: ClassVar = True
    what: str = param("", "what is asked; empty asks nothing")

    def run(self, context: Context) -> File:
        path = context.out / "answer.txt"
        write_text(context.answer(self.what, {"what": self.what}) if self.what else "nothing", path)
        return File(path)


@dataclass(frozen=True)
class TroubleOnDevice(Trouble):
    """Fails in a chosen way, on a device."""

    needs_device: ClassVar = True


@dataclass(frozen=True)
class Room(Spec):
    """Toy settings of a group."""

    rank: int = param(8, "how much room", ge=1, le=64)


@dataclass(frozen=True)
class Learn(Stage):
    """Simulates a training: its result is its settings. The diary, outside the store, lists the trainings."""

    makes: ClassVar = Weights
    trains: ClassVar = True
    text: Text | None = param(None, "what to learn")
    diary: Path | None = param(None, "a file to tell it to", content=False)
    unet_lr: float = param(1e-4, "how fast", ge=0, le=1)
    text_encoder_lr: float = param(0.0, "how fast the words", ge=0, le=1)
    steps: Duration = param(Duration(100), "how long")
    until: Duration | None = param(None, "end before")
    resume_from: Weights | None = param(None, "go on from", content=False)
    stop: str = param("", "unused")
    room: Room = param(Room, "how much room")
    name_of_it: str = param("", "a text, which cannot be tuned")
    seconds: float = param(0.0, "how long it takes", content=False)

    def rates_by_option(self) -> dict[str, float]:
        return {name: rate for name in ("unet_lr", "text_encoder_lr") if (rate := getattr(self, name))}

    def run(self, context: Context) -> Weights:
        steps = (self.until or self.steps).count
        if self.diary:
            with self.diary.open("a", encoding="utf-8") as file:
                done = self.resume_from.snapshots[-1].step if self.resume_from else 0
                file.write(f"{self.unet_lr:g} {steps - done}\n")
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            context.check()
            time.sleep(0.01)
        record = TrainingRecord(
            family="toy", base_model_version="", architecture="", prediction="", base_name="toy",
            settings={"rank": self.room.rank, "unet_lr": self.unet_lr, "steps": self.steps.plain()},
            rates=self.rates_by_option(), rank=0, alpha=0, pictures=1, pictures_per_epoch=1, batches_per_epoch=1,
            steps=steps, resolution=(64, 64),
        )  # fmt: skip
        record.save(context.out / "training.json")
        snapshot = context.out / "last.safetensors"
        snapshot.write_text(f"{self.unet_lr} {self.steps.count} {self.room.rank}", encoding="utf-8")
        return Weights((Snapshot(steps, 1, snapshot),), training=context.out / "training.json")


@dataclass(frozen=True)
class Grade(Stage):
    """Simulates an evaluation: the merit of a training falls with the distance of its settings from the best ones."""

    makes: ClassVar = Report
    weights: Weights = param(help="what to judge")
    best_rate: float = param(1e-4, "the rate that is best", gt=0)
    best_steps: int = param(0, "the steps that are best; 0: any", ge=0)
    strengths: tuple[float, ...] = param((1.0,), "strengths")
    unsure: bool = param(False, "say nothing")

    def run(self, context: Context) -> Report:
        record = TrainingRecord.load(self.weights.training)
        rate = record.rates["unet_lr"]
        off = {"unet_lr": math.log(rate / self.best_rate)}
        if self.best_steps:
            off["steps"] = math.log(record.steps / self.best_steps)
        merit = 0.8 * math.exp(-sum(each * each for each in off.values()))
        worst = max(off, key=lambda name: abs(off[name]))
        good = abs(off[worst]) < 0.5
        now = {"unet_lr": rate, "steps": record.steps}[worst]
        patch = {} if good or self.unsure else {worst: now * (2 if off[worst] < 0 else 0.5)}
        state = "not sure" if self.unsure else "good" if good else "over-trained" if off[worst] > 0 else "no effect"
        cell = {"step": record.steps, "strength": 1.0, "text_encoder": 1.0}
        advice = [{"what": "Learn at another rate.", "patch": patch}] if patch else []
        data = {
            "verdict": {"state": state, "best": cell, "headline": "As it is.", "reasons": [], "advice": advice},
            "cells": [{**cell, "merit": merit, "identity": merit, "following": 1.0, "measures": {}}],
            "prompts": ["a toy"],
        }
        (context.out / "report.json").write_text(json.dumps(data), encoding="utf-8")
        for name in ("report.html", "grid.png"):
            (context.out / name).write_text("", encoding="utf-8")
        return Report(context.out / "report.html", context.out / "report.json", context.out / "grid.png", self.weights)
