"""Progress and report of the stages that approximate updates: how much is kept, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lorapipe.atomic import write_text
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log, Progress

if TYPE_CHECKING:
    from lorapipe.lora_tools.kept_report import KeptReport


def modules_told(context: Context) -> Callable[[int, int], None]:
    """Return a function that tells the modules done as progress, and stops when the user wants to."""

    def tell(done: int, total: int) -> None:
        context.check()
        context.emit(Progress(step=done, total=total, unit="modules"))

    return tell


def emit_report(report: KeptReport, context: Context) -> None:
    """Emit the report as lines, with what is left out as warnings, and write it for all modules as JSON."""
    for line in report.lines():
        context.emit(Log(text=line, level="warning" if line.startswith("left out") else "info"))
    from lorapipe.lora_tools.kept_report import FILE

    write_text(report.as_json(), context.out / FILE)
