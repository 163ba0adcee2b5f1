"""A fake of `comfy_api.latest`: schemas, inputs and outputs with ComfyUI's arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ComfyExtension:
    pass


class _Socket:
    def __init__(self, id, display_name=None, optional=False, tooltip=None):
        self.id, self.display_name, self.optional, self.tooltip = id, display_name, optional, tooltip
        self.extra_dict: dict[str, Any] = {}
        self.default = None


class _Output:
    def __init__(self, id=None, display_name=None, tooltip=None, is_output_list=False):
        self.id, self.display_name, self.tooltip, self.is_output_list = id, display_name, tooltip, is_output_list


def _kind(name: str, **options: Any) -> Any:
    """Make a type with an input that takes these options (and `default` if it is a widget), and an output."""

    def begin(self, id, optional=False, tooltip=None, **given):
        _Socket.__init__(self, id, None, optional, tooltip)
        unknown = set(given) - set(options)
        if unknown:
            raise TypeError(f"{name}.Input has no {unknown}")
        self.default = given.get("default")
        self.options = {**options, **given}

    made = type(name, (), {})
    made.Input = type("Input", (_Socket,), {"__init__": begin, "io_type": name})
    made.Output = type("Output", (_Output,), {"io_type": name})
    return made


class io:  # noqa: N801 (as it is called there)
    class Hidden(StrEnum):
        unique_id = "UNIQUE_ID"
        prompt = "PROMPT"

    @dataclass
    class Schema:
        node_id: str
        display_name: str
        category: str
        description: str
        inputs: list[Any]
        outputs: list[Any]
        hidden: list[Any] = field(default_factory=list)
        is_output_node: bool = False
        is_deprecated: bool = False
        is_input_list: bool = False

        def __post_init__(self):
            ids = [each.id for each in (*self.inputs, *self.outputs)]
            if len(set(ids)) != len(ids):
                raise ValueError(f"Ids must be unique: {ids}")

    class NodeOutput:
        def __init__(self, *args, ui=None):
            self.args, self.ui = args, ui

    class ComfyNode:
        hidden: Any = None

        @classmethod
        def GET_NODE_INFO_V1(cls):  # noqa: N802
            made = cls.define_schema()
            return {"name": made.node_id, "display_name": made.display_name}

    Boolean = _kind("BOOLEAN", default=None)
    Int = _kind("INT", default=None, min=0, max=2048, control_after_generate=None)
    Float = _kind("FLOAT", default=None, min=0, max=2048, step=None, round=None)
    String = _kind("STRING", default=None, multiline=False, dynamic_prompts=None)
    Combo = _kind("COMBO", default=None, options=())
    AnyType = _kind("*")

    class MultiType:
        class Input(_Socket):
            """An input that has the widget of another one, and takes links of more types."""

            def __init__(self, made, types):
                _Socket.__init__(self, made.id, None, made.optional, made.tooltip)
                self.default, self.options, self.extra_dict = made.default, made.options, made.extra_dict
                self.io_type = ",".join([made.io_type, *(each.Input.io_type for each in types)])

    @staticmethod
    def Custom(name):  # noqa: N802
        return _kind(name)
