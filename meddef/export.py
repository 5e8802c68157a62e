"""A model as one file for other programs: ONNX (``.onnx``), torch.export (``.pt2``) or TorchScript (``.pt``).

The model itself and its numbers stay as they are. For ONNX two operations that its exporter lacks are written
otherwise in the exported graph, equal up to rounding: adaptive average pooling to more than one position is a product
with the matrices of its means (a bin may not have the same length everywhere), and attention without heads is written
out. The written file is then run, and its logits are compared with the model's.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.atomic import replacing
from meddef.error_source import in_a_line, place
from meddef.errors import InputError
from meddef.module_state import evaluating

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".pt": "TorchScript"}
BATCHES = (1, 5)  # images in each comparison: a file takes any number
TOLERANCE = 1e-4  # of the largest logit; float32 rounds at about 1e-6


@dataclass(frozen=True)
class Exported:
    """What was written: the format, and by how much the file's logits differ from the model's on ``compared`` images.

    ``difference`` is the largest of a logit, ``largest`` the largest absolute logit of the model.
    """

    format: str
    difference: float
    largest: float
    compared: int


def export(
    model: nn.Module, path: Path, shape: Sequence[int], *, about: Mapping[str, Any] | None = None
) -> Exported:
    """Write ``model``, in evaluation mode, as a file that takes images (N, C, H, W) in [0, 1] for any N.

    Args:
        model: images to logits (N, K), on the CPU.
        path: ends with ``.onnx``, ``.pt2`` or ``.pt``.
        shape: (C, H, W) of the images.
        about: kept in the file's metadata as JSON, where the format has any (ONNX, TorchScript).

    Raises:
        InputError: another ending; a model that cannot be exported for any N; logits that are not the model's.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"--output '{path}' is not the name of a {', '.join(FORMATS)} file")
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(count, *shape, generator=generator) for count in BATCHES]
    with evaluating(model), torch.no_grad(), replacing(path) as temporary:
        expected = [model(batch.clone()) for batch in batches]
        try:
            _WRITERS[kind](model, batches[-1], temporary, json.dumps(dict(about or {}), ensure_ascii=False))
        except ModuleNotFoundError:
            raise
        except Exception as error:
            reason = in_a_line(_root(error))
            raise InputError(
                f"the model cannot be exported as {FORMATS[kind]}: {reason}{place(error)}"
            ) from error
        run = _READERS[kind](temporary)
        pairs = [(run(batch), logits) for batch, logits in zip(batches, expected, strict=True)]
        found = max(float((there - here).abs().max()) for there, here in pairs)
        largest = max(float(logits.abs().max()) for logits in expected)
        if not found <= TOLERANCE * max(largest, 1e-6):
            raise InputError(
                f"the {FORMATS[kind]} file's logits differ from the model's by {found:.2g}, of {largest:.2g}: it is "
                "not written; does the model's answer depend on chance, or on the other images of a batch?"
            )
    return Exported(FORMATS[kind], found, largest, sum(BATCHES))


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def pooling_matrix(length: int, size: int) -> Tensor:
    """The means of adaptive pooling as a matrix (``size``, ``length``): bin i covers the positions from
    floor(i * length / size) to before ceil((i + 1) * length / size), as in PyTorch; bins may overlap.

    >>> pooling_matrix(3, 2)
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]])
    """
    means = torch.zeros(size, length)
    for number in range(size):
        first, end = number * length // size, -(-(number + 1) * length // size)
        means[number, first:end] = 1 / (end - first)
    return means


def _adaptive_pooling(x: Tensor, output_size: Sequence[int]) -> Tensor:
    height, width = output_size
    rows, columns = (pooling_matrix(int(x.shape[d]), s).to(x) for d, s in ((-2, height), (-1, width)))
    return torch.matmul(torch.matmul(rows, x), columns.T)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Of queries (N, P, d), without what a mask or heads would add, which ONNX's exporter has."""
    if query.ndim != 3 or attn_mask is not None or is_causal or dropout_p or enable_gqa:
        return NotImplemented
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    weights = torch.softmax(torch.matmul(query * factor, key.transpose(-2, -1)), dim=-1)
    return torch.matmul(weights, value)


def _program(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    count = torch.export.Dim("count")
    return torch.export.export(model, (images,), dynamic_shapes=({0: count},))


def _write_onnx(model: nn.Module, images: Tensor, path: Path, about: str) -> None:
    import onnx
    import onnxruntime  # noqa: F401  (the comparison needs it: say so before minutes of work)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = _program(model, images).run_decompositions(
            {
                torch.ops.aten._adaptive_avg_pool2d.default: _adaptive_pooling,
                torch.ops.aten.scaled_dot_product_attention.default: _attention,
            }
        )
        written = torch.onnx.export(
            program, (images,), dynamo=True, verbose=False, input_names=["images"], output_names=["logits"]
        )
    assert written is not None
    proto = written.model_proto
    strip(proto)
    proto.metadata_props.add(key="meddef", value=about)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def strip(proto: Any) -> None:
    """Remove the exporter's notes on the origin of nodes from an ``onnx.ModelProto``: they contain local paths."""
    proto.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")


def _write_exported(model: nn.Module, images: Tensor, path: Path, about: str) -> None:
    stream = io.BytesIO()
    torch.export.save(_program(model, images), stream, extra_files={"meddef.json": about})
    path.write_bytes(stream.getvalue())


def _write_script(model: nn.Module, images: Tensor, path: Path, about: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch has deprecated TorchScript
        traced = torch.jit.trace(model, images, check_trace=False)  # it is compared below, with other images
        torch.jit.save(traced, str(path), _extra_files={"meddef.json": about})


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _read_exported(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


def _read_script(path: Path) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(str(path))


_WRITERS: dict[str, Callable[[nn.Module, Tensor, Path, str], None]] = {
    ".onnx": _write_onnx,
    ".pt2": _write_exported,
    ".pt": _write_script,
}
_READERS: dict[str, Callable[[Path], Callable[[Tensor], Tensor]]] = {
    ".onnx": _read_onnx,
    ".pt2": _read_exported,
    ".pt": _read_script,
}
