"""Texts of a run's events, numbers and times, shared by all displays."""

from __future__ import annotations

import math

from lorapipe.pipeline.events import Asked, Event, Failed, Finished, Log, Planned, Preview, Progress, Reused, Started


def words(event: Event) -> str:
    """Return the text of an event without its stage's name; empty if it is only for programs."""
    match event:
        case Planned():
            return f"{event.action}: {event.reason}"
        case Started():
            return "started"
        case Progress():
            return f"{event.step}/{event.total} {event.unit}  {figures(event)}"
        case Preview():
            return f"preview: {event.path}"
        case Log():
            return event.text
        case Asked():
            return f"{event.text} It waits for {event.answer}"
        case Reused():
            return "reused"
        case Finished():
            return f"finished in {duration(event.seconds)}"
        case Failed():
            return " ".join(filter(None, [event.message, event.hint])) or event.cause
    return ""


def figures(event: Progress) -> str:
    """Format a progress event: `loss 0.0812  lr 1.00e-04  0.31 s/it  0:58 left`."""
    parts = [f"{name} {number(value)}" for name, value in event.values.items()]
    if event.seconds_left is not None:
        parts.append(f"{clock(event.seconds_left)} left")
    return "  ".join(parts)


def number(value: float) -> str:
    """Format a number with four significant digits, or with three and an exponent if it is very small or large."""
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def clock(seconds: float) -> str:
    """Format a time as on a clock: `0:58`, `1:02:03`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """Format a duration: `0.4 s`, `2 min 13 s`, `1 h 2 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
