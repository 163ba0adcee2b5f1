"""Runs small ONNX models with PyTorch, where onnxruntime is not installed: those of the few operations in `OPERATIONS`.

It is as fast as onnxruntime for such models, but no replacement: real taggers use many more operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lorapipe.captioning.taggers._onnx_file import FLOAT, HALF, INT64, OnnxGraph, OnnxNode, OnnxTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Operation = Callable[[OnnxNode, "list[Tensor]"], "Tensor"]


class OnnxInterpreter:
    """A model of few operations. Raises `NotImplementedError`, which names the first other operation."""

    def __init__(self, graph: OnnxGraph, device: str) -> None:
        if unknown := [node.operator for node in graph.nodes if node.operator not in OPERATIONS]:
            raise NotImplementedError(unknown[0])
        self._graph, self._device = graph, device
        self._constants = {name: _constant(each).to(device) for name, each in graph.constants.items()}

    def __call__(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Return the model's first output for its first input."""
        import torch

        with torch.inference_mode():
            values: dict[str, Tensor] = dict(self._constants)
            values[self._graph.inputs[0].name] = torch.from_numpy(pictures).to(self._device)
            for node in self._graph.nodes:
                values[node.outputs[0]] = OPERATIONS[node.operator](node, [values[name] for name in node.inputs])
            return values[self._graph.outputs[0].name].float().cpu().numpy()


def _constant(constant: OnnxTensor) -> Tensor:
    import torch

    kinds = {FLOAT: torch.float32, HALF: torch.float16, INT64: torch.int64}
    if constant.element not in kinds:
        raise NotImplementedError(f"constants of type {constant.element}")
    if not constant.data:
        return torch.zeros(constant.shape, dtype=kinds[constant.element])
    return torch.frombuffer(bytearray(constant.data), dtype=kinds[constant.element]).reshape(constant.shape)


def _convolution(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    from torch.nn import functional

    attributes: Mapping[str, Any] = node.attributes
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    padded = functional.pad(inputs[0], (left, right, top, bottom)) if top or left or bottom or right else inputs[0]
    dilations, groups = attributes.get("dilations", [1, 1]), attributes.get("group", 1)
    bias = inputs[2] if len(inputs) > 2 else None
    return functional.conv2d(padded, inputs[1], bias, attributes.get("strides", [1, 1]), 0, dilations, groups)


def _gemm(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    first = inputs[0].T if node.attributes.get("transA") else inputs[0]
    second = inputs[1].T if node.attributes.get("transB") else inputs[1]
    product = node.attributes.get("alpha", 1.0) * (first @ second)
    return product + node.attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _layer_norm(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    from torch.nn import functional

    epsilon: Any = node.attributes.get("epsilon", 1e-5)
    if node.attributes.get("axis", -1) != -1:
        raise NotImplementedError("LayerNormalization over several axes")
    return functional.layer_norm(inputs[0], inputs[1].shape, inputs[1], inputs[2] if len(inputs) > 2 else None, epsilon)


def _reshaped(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    lengths = inputs[1].tolist()
    return inputs[0].reshape([length or inputs[0].shape[place] for place, length in enumerate(lengths)])


def _gathered(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    if inputs[1].ndim:
        raise NotImplementedError("Gather of several places")
    axis: Any = node.attributes.get("axis", 0)
    return inputs[0].select(axis, int(inputs[1]))


def _softmax(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    axis: Any = node.attributes.get("axis", -1)
    return inputs[0].softmax(axis)


def _cast(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    if node.attributes.get("to") != FLOAT:
        raise NotImplementedError("Cast to other types than float32")
    return inputs[0].float()


def _transposed(node: OnnxNode, inputs: list[Tensor]) -> Tensor:
    order: Any = node.attributes.get("perm") or list(range(inputs[0].ndim))[::-1]
    return inputs[0].permute(order)


OPERATIONS: Mapping[str, Operation] = {
    "Add": lambda node, inputs: inputs[0] + inputs[1],
    "Cast": _cast,
    "Conv": _convolution,
    "Div": lambda node, inputs: inputs[0] / inputs[1],
    "Exp": lambda node, inputs: inputs[0].exp(),
    "Flatten": lambda node, inputs: inputs[0].flatten(1),
    "Gather": _gathered,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node, inputs: inputs[0].mean((2, 3), keepdim=True),
    "Identity": lambda node, inputs: inputs[0],
    "LayerNormalization": _layer_norm,
    "MatMul": lambda node, inputs: inputs[0] @ inputs[1],
    "Mul": lambda node, inputs: inputs[0] * inputs[1],
    "Relu": lambda node, inputs: inputs[0].relu(),
    "Reshape": _reshaped,
    "Sigmoid": lambda node, inputs: inputs[0].sigmoid(),
    "Softmax": _softmax,
    "Sub": lambda node, inputs: inputs[0] - inputs[1],
    "Transpose": _transposed,
}
"""ONNX operation → the function that computes it (opset 17)."""
