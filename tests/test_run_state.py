"""The state of a run after its events, and each event as text, for the terminal, the page, logs and the history."""

from __future__ import annotations

import pytest

from lorapipe.pipeline.event_text import words
from lorapipe.pipeline.events import Event, Failed, Finished, Log, Metric, Planned, Preview, Progress, Reused, Started
from lorapipe.pipeline.run_state import MOST_LOGS, RunState

EVENTS = [
    Planned("pictures", reason="nothing has changed", action="reuse"),
    Planned("penny", reason="rank 8 → 16"),
    Planned("judged", reason="its dataset changes"),
    Planned("file", reason="its weights change"),
    Reused("pictures", "abc", ("pictures.png",)),
    Started("penny", "def"),
    Progress("penny", 3, 10, values={"loss": 0.25}, seconds_left=70),
    Metric("penny", 3, {"loss": 0.5}),
    Metric("penny", 4, {"loss": 0.25, "lr": 1e-4}),
    Log("penny", "the disk is nearly full", "warning"),
    Finished("penny", "def", 133.0, ("penny.safetensors",)),
    Failed("judged", "oom", "out of memory", "Choose a smaller batch."),
    Failed("file", "cancelled", "stopped"),
]


def test_each_stage_is_where_its_events_have_brought_it() -> None:
    run = RunState.of(EVENTS)
    assert {name: stage.state for name, stage in run.stages.items()} == {
        "pictures": "reused",
        "penny": "finished",
        "judged": "failed",
        "file": "cancelled",
    }
    penny, judged = run.stages["penny"], run.stages["judged"]
    assert (penny.reason, penny.key, penny.seconds) == ("rank 8 → 16", "def", 133.0)
    assert penny.metrics == {"loss": 0.25, "lr": 1e-4} and penny.progress == EVENTS[6]
    assert (judged.message, judged.hint) == ("out of memory", "Choose a smaller batch.")
    assert run.files == ["pictures.png", "penny.safetensors"]
    assert [log.text for log in run.logs] == ["the disk is nearly full"]


def test_a_run_that_was_cut_short_has_stages_without_an_end() -> None:
    run = RunState.of(EVENTS[:6])
    assert [(stage.state, stage.end) for stage in run.stages.values()] == [
        ("reused", "reused"), ("running", ""), ("waiting", ""), ("waiting", "")
    ]  # fmt: skip


def test_what_is_said_of_the_whole_run_is_no_stage_and_logs_are_bounded() -> None:
    run = RunState.of(Log(text=str(number)) for number in range(MOST_LOGS + 5))
    assert not run.stages and len(run.logs) == MOST_LOGS and run.logs[-1].text == str(MOST_LOGS + 4)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (EVENTS[1], "run: rank 8 → 16"),
        (EVENTS[5], "started"),
        (EVENTS[6], "3/10 steps  loss 0.25  1:10 left"),
        (Preview("penny", "a.png"), "preview: a.png"),
        (EVENTS[9], "the disk is nearly full"),
        (EVENTS[4], "reused"),
        (EVENTS[10], "finished in 2 min 13 s"),
        (EVENTS[11], "out of memory Choose a smaller batch."),
        (Failed("penny", "lost"), "lost"),
        (EVENTS[7], ""),
    ],
)
def test_events_in_words(event: Event, said: str) -> None:
    assert words(event) == said
