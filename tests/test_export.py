"""Exported files: their logits are the model's, for any number of images; a file that answers otherwise is refused."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

from meddef.cli import app
from meddef.errors import InputError
from meddef.export import export, pooling_matrix
from meddef.models import build_model
from meddef.training import save_weights


class Pooled(nn.Module):
    """What ONNX's exporter lacks: pooling to 3 x 2 of sides that these do not divide, and attention without heads."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Tanh())
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.convolution(x), (3, 2)).flatten(2).transpose(1, 2)
        return self.head(F.scaled_dot_product_attention(x, x, x).mean(1))


@pytest.fixture
def pooled() -> nn.Module:
    torch.manual_seed(0)
    model = Pooled()
    with torch.no_grad():
        model(torch.rand(8, 1, 28, 35))  # statistics other than 0 and 1
    return model.train()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 8, 14])
def test_a_product_with_the_matrix_is_adaptive_pooling(length: int, size: int) -> None:
    x = torch.randn(2, 3, length, dtype=torch.float64)
    matrix = pooling_matrix(length, size).double()
    torch.testing.assert_close(x @ matrix.T, F.adaptive_avg_pool1d(x, size), rtol=0, atol=1e-6)


def test_the_onnx_file_answers_as_the_model(pooled: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "pooled.onnx"
    done = export(pooled, path, (1, 28, 35), about={"classes": ["a", "b", "c"]})
    assert pooled.training
    assert done.difference < 1e-5 < done.largest
    session = onnxruntime.InferenceSession(path)
    assert session.get_inputs()[0].shape[1:] == [1, 28, 35]
    pooled.eval()
    for count in (1, 2, 7):  # not only those that were compared at the export
        images = torch.rand(count, 1, 28, 35)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(found, pooled(images).detach(), rtol=0, atol=1e-5)
    written = onnx.load(path)
    assert json.loads(written.metadata_props[0].value) == {"classes": ["a", "b", "c"]}
    assert str(Path(__file__).parent).encode() not in path.read_bytes()


@pytest.mark.parametrize("ending", [".pt", ".pt2"])
def test_pytorch_s_own_files_answer_as_the_model(pooled: nn.Module, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pooled{ending}"
    assert export(pooled, path, (1, 28, 35)).difference < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net = torch.jit.load(path) if ending == ".pt" else torch.export.load(path).module()
    images = torch.rand(3, 1, 28, 35)
    torch.testing.assert_close(net(images), pooled.eval()(images), rtol=0, atol=1e-5)


class Restless(nn.Module):
    """Noise on its answer, or an answer that leans on the first image of a batch."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.head = kind, nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(x.mean((2, 3)))
        return logits + torch.randn_like(logits) if self.kind == "chance" else logits + float(len(x))


def test_a_file_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the TorchScript file.s logits differ .*chance"):
        export(Restless("chance"), tmp_path / "a.pt", (3, 28, 28))
    with (
        pytest.warns(torch.jit.TracerWarning),
        pytest.raises(InputError, match=r"TorchScript file.s logits differ"),  # traced with another length
    ):
        export(Restless("length"), tmp_path / "a.pt", (3, 28, 28))
    with pytest.raises(InputError, match=r"cannot be exported as torch\.export"):
        export(Restless("length"), tmp_path / "a.pt2", (3, 28, 28))
    with pytest.raises(InputError, match=r"'a.txt' is not the name of a \.onnx, \.pt2, \.pt file"):
        export(Restless("chance"), Path("a.txt"), (3, 28, 28))
    assert list(tmp_path.iterdir()) == []


def test_the_command_reads_what_the_weights_say(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights, path = tmp_path / "mine.safetensors", tmp_path / "mine.pt2"
    model = build_model("resnet18", 3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    data = {"dataset": "gone", "image_size": [32, 40], "channels": 3}
    save_weights(weights, model, variant="resnet18", classes=["A", "B", "C"], data=data)
    told = (
        CliRunner()
        .invoke(app, ["export", "-w", str(weights), "-o", str(path)], catch_exceptions=False)
        .stdout
    )
    assert "torch.export of resnet18; images (N, 3, 32, 40) in [0, 1] to logits of A, B, C, for any N" in told
    images = torch.rand(2, 3, 32, 40)
    torch.testing.assert_close(torch.export.load(path).module()(images), model.eval()(images))


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ({}, [], "does not say at which size it was trained: give --image-size"),
        ({}, ["--image-size", "32"], "does not say of which model it is: give --variant or --model"),
        (
            {"variant": "full"},
            ["--image-size", "32", "--variant", "resnet18"],
            "holds the weights of full, not of",
        ),
        (
            {"variant": "os:abort"},
            ["--image-size", "32"],
            "holds the weights of os:abort: give --model os:abort",
        ),
        (
            {},
            ["--image-size", "32", "--variant", "full"],
            "holds the weights of another model than full: give --model",
        ),
        ({}, ["--channels", "2"], "--channels 2 is neither 1 nor 3"),
    ],
)
def test_what_is_missing_is_asked_for(
    header: dict[str, str], options: list[str], message: str, tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, weights, metadata={"header": json.dumps(header)})
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(
            app,
            ["export", "-w", str(weights), "-o", str(tmp_path / "a.onnx"), *options],
            catch_exceptions=False,
        )
