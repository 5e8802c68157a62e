"""ONNX files of the playground: written from a model, and read back into one. Needs ``meddef[playground]``."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from meddef.atomic import replacing
from meddef.errors import InputError
from meddef.export import strip
from meddef.playground.folded import Folded
from meddef.playground.graph import INPUTS, OUTPUTS, example, trace
from meddef.playground.model import narrow_meddef

SMALL = 16
"""Smaller initializers stay float32: a cast would need more space than it saves."""


def save(model: Folded, path: Path) -> None:
    """Write the gradient graph of ``model``, whole or not at all; weights keep their names, stored as float16."""
    graph = trace(model)
    names = {tensor.data_ptr(): f"model.{name}" for name, tensor in _kept(model).items()}
    held = {**dict(graph.named_parameters()), **dict(graph.named_buffers())}
    named = {name: names[tensor.data_ptr()] for name, tensor in held.items() if tensor.data_ptr() in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            graph, example(model), dynamo=True, verbose=False, optimize=False,
            input_names=list(INPUTS), output_names=list(OUTPUTS),
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    strip(proto)
    _rename(proto.graph, named)
    _halve(proto.graph)
    onnx.checker.check_model(proto)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())


def load(path: Path) -> Folded:
    """The model whose gradient graph is at ``path``, for PyTorch.

    Raises:
        InputError: no such file, or not one that ``save`` wrote.
    """
    if not path.is_file():
        raise InputError(f"no model at {path}: run 'python -m meddef.playground'")
    initializers = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    try:
        num_classes = initializers["model.head.bias"].dims[0]
        model = Folded(narrow_meddef(num_classes, mean=0.0, std=1.0))
        for name, tensor in _kept(model).items():
            values = numpy_helper.to_array(initializers[f"model.{name}"])
            tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))
    except KeyError as error:
        raise InputError(
            f"{path} lacks {error}: it is not a model of the playground; run 'python -m meddef.playground'"
        ) from error
    return model


def _kept(model: Folded) -> dict[str, torch.Tensor]:
    """The model-specific tensors, by name; the rest of the state is the same in all models."""
    return {"mean": model.mean, "std": model.std, **dict(model.named_parameters())}


def _rename(graph: onnx.GraphProto, named: dict[str, str]) -> None:
    for tensor in graph.initializer:
        tensor.name = named.get(tensor.name, tensor.name)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = named.get(name, name)


def _halve(graph: onnx.GraphProto) -> None:
    """Store weights as float16 with a cast in front, which the runtime does once, when it loads the model."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= SMALL:
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
            tensor.CopyFrom(half)
            single = f"{tensor.name}.single"
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [single], to=onnx.TensorProto.FLOAT))
    renamed = {cast.input[0]: cast.output[0] for cast in casts}
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    nodes = [*casts, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
