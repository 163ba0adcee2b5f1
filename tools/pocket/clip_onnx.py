"""CLIP's image encoder (Radford et al. 2021; transformers' `CLIPVisionTransformer`) as operations of ONNX."""

import numpy as np
from torch import Tensor, nn

from tools.pocket.onnx_writer import Graph


def image_encoder(graph: Graph, vision: nn.Module, pictures: str, *, swapped: bool = False) -> str:
    """Add the encoder to a graph; return the name of its pooled output, (N, d).

    `pictures` is the name of (N, 3, H, W) in −1 … 1. With `swapped`, their channels are blue, green, red.
    """
    embeddings = vision.embeddings
    kernel = embeddings.patch_embedding.weight
    inputs = [pictures, _weight(graph, kernel.flip(1) if swapped else kernel)]
    side = kernel.shape[-1]
    name = graph.node("Conv", inputs, kernel_shape=[side, side], strides=[side, side], pads=[0, 0, 0, 0])
    width = kernel.shape[0]
    name = graph.node("Reshape", [name, _shape(graph, 0, width, -1)])
    places = embeddings.position_embedding.weight.detach().clone()
    places[0] += embeddings.class_embedding
    moved = np.eye(len(places) - 1, len(places), 1, np.float32)  # makes room for the class token, the first
    name = graph.node("MatMul", [name, graph.weight(moved)])
    name = graph.node("Add", [graph.node("Transpose", [name], perm=[0, 2, 1]), _weight(graph, places)])
    name = _normalised(graph, vision.pre_layrnorm, name)
    for layer in vision.encoder.layers:
        inner = _attention(graph, layer.self_attn, _normalised(graph, layer.layer_norm1, name))
        name = graph.node("Add", [name, inner])
        inner = _linear(graph, layer.mlp.fc1, _normalised(graph, layer.layer_norm2, name))
        slope = graph.node("Sigmoid", [graph.node("Mul", [inner, graph.constant(np.array(1.702, np.float32))])])
        name = graph.node("Add", [name, _linear(graph, layer.mlp.fc2, graph.node("Mul", [inner, slope]))])  # quick GELU
    first = graph.node("Gather", [name, graph.constant(np.array(0, np.int64))], axis=1)
    return _normalised(graph, vision.post_layernorm, first)


def _attention(graph: Graph, attention: nn.Module, name: str) -> str:
    heads, width = attention.num_heads, attention.head_dim

    def split(projection: nn.Linear, order: tuple[int, ...]) -> str:
        parted = graph.node("Reshape", [_linear(graph, projection, name), _shape(graph, 0, 0, heads, width)])
        return graph.node("Transpose", [parted], perm=list(order))

    query, key, value = (
        split(attention.q_proj, (0, 2, 1, 3)), split(attention.k_proj, (0, 2, 3, 1)), split(attention.v_proj, (0, 2, 1, 3))
    )  # fmt: skip
    scale = graph.constant(np.array(width**-0.5, np.float32))
    likeness = graph.node("Mul", [graph.node("MatMul", [query, key]), scale])
    mixed = graph.node("MatMul", [graph.node("Softmax", [likeness], axis=-1), value])
    joined = graph.node(
        "Reshape", [graph.node("Transpose", [mixed], perm=[0, 2, 1, 3]), _shape(graph, 0, 0, heads * width)]
    )
    return _linear(graph, attention.out_proj, joined)


def _linear(graph: Graph, layer: nn.Linear, name: str) -> str:
    return graph.node("Add", [graph.node("MatMul", [name, _weight(graph, layer.weight.T)]), _weight(graph, layer.bias)])


def _normalised(graph: Graph, layer: nn.LayerNorm, name: str) -> str:
    weights = [_weight(graph, layer.weight), _weight(graph, layer.bias)]
    return graph.node("LayerNormalization", [name, *weights], axis=-1, epsilon=float(layer.eps))


def _weight(graph: Graph, tensor: Tensor) -> str:
    return graph.weight(tensor.detach().float().contiguous().numpy())


def _shape(graph: Graph, *lengths: int) -> str:
    return graph.constant(np.array(lengths, np.int64))
