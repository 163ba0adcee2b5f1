"""Export a pipeline's graph as Mermaid or Graphviz dot."""

from __future__ import annotations

from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import Plan

COLOURS = {"run": "#fde68a", "reuse": "#d1fae5"}


def mermaid(pipeline: Pipeline, plan: Plan) -> str:
    """Return a Mermaid flowchart; stages that would run are yellow, reused ones green."""
    lines = ["flowchart LR"]
    numbers = {step.name: f"s{number}" for number, step in enumerate(plan.stages)}
    for step in plan.stages:
        label = f"{step.name}<br/><small>{pipeline.stages[step.name].name}: {step.action}</small>".replace('"', "'")
        lines.append(f'  {numbers[step.name]}["{label}"]:::{step.action}')
    lines += [f"  {numbers[need]} --> {numbers[name]}" for name in numbers for need in pipeline.needs[name]]
    lines += [f"  classDef {action} fill:{colour},stroke:#555,color:#111" for action, colour in COLOURS.items()]
    return "\n".join(lines)


def dot(pipeline: Pipeline, plan: Plan) -> str:
    """Return a Graphviz digraph, in the same colours."""
    lines = ["digraph pipeline {", '  rankdir=LR; node [shape=box, style="rounded,filled", fontname="sans-serif"];']
    for step in plan.stages:
        label = f"{step.name}\\n{pipeline.stages[step.name].name}: {step.action}"
        lines.append(f'  "{step.name}" [label="{label}", fillcolor="{COLOURS[step.action]}"];')
    lines += [f'  "{need}" -> "{step.name}";' for step in plan.stages for need in pipeline.needs[step.name]]
    return "\n".join([*lines, "}"])


FORMS = {"mermaid": mermaid, "dot": dot}
