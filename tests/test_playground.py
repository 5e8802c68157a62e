"""The playground's models, their gradient graphs, and the files and sentences of its page."""

import hashlib
import io
import json
import shutil
import tarfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from meddef.attacks import fgsm
from meddef.data.phantom import FAMILIES, patients_needed
from meddef.errors import InputError
from meddef.evaluation import evaluate
from meddef.playground import __main__ as command
from meddef.playground import runtime
from meddef.playground.folded import Folded
from meddef.playground.graph import trace
from meddef.playground.images import FAMILY, SPLITS, draw_split, shown
from meddef.playground.model import narrow_meddef
from meddef.playground.onnx_file import load
from meddef.playground.page import NAMES, SOURCE, TARGET, bundle, playground_pages, publish_playground
from meddef.playground.training import split

ROOT = Path(__file__).resolve().parents[1]
K = len(FAMILIES[FAMILY])


def by_autograd(model: Folded, image: Tensor, onehot: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The expected output of the graph, from PyTorch's autograd on the model itself."""
    x = image.clone().requires_grad_()
    features = model.features(x)
    logits = model.classify(features)
    loss = F.cross_entropy(logits, onehot, reduction="none")
    gradient, towards = torch.autograd.grad((loss + (weights * logits).sum(1)).sum(), [x, features])
    heat = torch.einsum("nc,nchw->nhw", towards.mean((2, 3)), features).clamp(min=0)
    return {"logits": logits, "loss": loss, "gradient": gradient, "heat": heat}


def questions() -> list[tuple[Tensor, Tensor]]:
    """(onehot, weights): cross-entropy of a class, one logit, the sum of the others."""
    eye, none = torch.eye(K), torch.zeros(1, K)
    return [(eye[2:3], none), (none, eye[1:2]), (none, 1 - eye[1:2])]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(shown()[0][::5]).float().div(255)[:, None]


@pytest.mark.parametrize("name", NAMES)
def test_the_published_graph_answers_as_pytorch(name: str, images: Tensor) -> None:
    path = ROOT / SOURCE / f"{name}.onnx"
    model, session = load(path), onnxruntime.InferenceSession(path)
    for image in images[:, None]:
        for onehot, weights in questions():
            inputs = {"image": image.numpy(), "onehot": onehot.numpy(), "weights": weights.numpy()}
            found = dict(zip(("logits", "loss", "gradient", "heat"), session.run(None, inputs), strict=True))
            for key, expected in by_autograd(model, image, onehot, weights).items():
                given = expected.detach().numpy()
                assert np.abs(found[key] - given).max() <= 1e-4 * max(1, np.abs(given).max()), (name, key)


def test_tracing_any_model_gives_its_derivatives(images: Tensor) -> None:
    torch.manual_seed(3)
    model = narrow_meddef(K, mean=0.3, std=0.2).train()
    model(images)  # running statistics that are not 0 and 1
    folded = Folded(model.eval())
    graph = trace(folded)
    assert "convolution_backward" not in graph.code
    onehot, weights = torch.eye(K)[:1], torch.tensor([[0.5, -1.0, 2.0, 0.0]])
    answers = graph(images[:1], onehot, weights)
    expected = by_autograd(folded, images[:1], onehot, weights).values()
    for found, given in zip(answers, expected, strict=True):
        assert torch.allclose(found, given, atol=1e-6, rtol=1e-4)


def test_folding_changes_no_more_than_half_precision_does(images: Tensor) -> None:
    torch.manual_seed(4)
    model = narrow_meddef(K, mean=0.3, std=0.2).train()
    for _ in range(3):
        model(images)
    with torch.no_grad():
        before, after = model.eval()(images), Folded(model)(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in Folded(model).modules())
    assert float((before - after).abs().max()) < 5e-3 * float(before.abs().max())


def test_the_published_record_is_what_the_published_model_does() -> None:
    test = split("test")
    loader = [test.batch(indices) for indices in torch.arange(len(test)).split(60)]
    for name in NAMES:
        record = json.loads((ROOT / SOURCE / f"{name}.json").read_text())
        (row,) = (row for row in record["measured"] if (row["attack"], row["eps"]) == ("fgsm", 0.03))
        counts = evaluate(
            load(ROOT / SOURCE / f"{name}.onnx"), loader, lambda *batch: fgsm(*batch, eps=0.03)
        ).counts
        for key, value in vars(counts).items():
            assert abs(row[key] - value) <= 1, (name, key)  # another machine rounds otherwise


def test_no_patient_is_in_two_splits() -> None:
    train = {f"P{number:04d}" for number in range(patients_needed(FAMILY, SPLITS["train"]))}
    assert set(draw_split("train", 40).patients) <= train
    patients = [train, *(set(draw_split(name).patients) for name in ("val", "test"))]
    assert sum(map(len, patients)) == len(set.union(*patients))


def test_shown_are_test_images_of_every_class() -> None:
    images, labels = shown()
    assert labels.tolist() == sorted([*range(K)] * 3)
    test = draw_split("test").images
    assert all((test == image).all((1, 2)).any() for image in images)


def test_files_together_stay_small() -> None:
    assert sum((ROOT / SOURCE / f"{name}.onnx").stat().st_size for name in NAMES) < 3e6


def test_what_is_not_a_model_of_the_playground_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"python -m meddef\.playground"):
        load(tmp_path / "none.onnx")
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "other", [], []))
    onnx.save(empty, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"lacks 'model\.head\.bias'"):
        load(tmp_path / "other.onnx")
    with pytest.raises(InputError, match="unknown model 'strong'"):
        command.main(["strong"])


class TestRuntime:
    @pytest.fixture
    def release(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """A registry that holds a small release; the addresses asked for."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for member in runtime.FILES.values():
                info = tarfile.TarInfo(member)
                info.size = 4
                archive.addfile(info, io.BytesIO(b"code"))
        asked: list[str] = []

        def urlopen(url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(stream.getvalue())

        monkeypatch.setattr(runtime, "urlopen", urlopen)
        monkeypatch.setattr(
            runtime, "INTEGRITY", b64encode(hashlib.sha512(stream.getvalue()).digest()).decode()
        )
        return asked

    def test_is_packed_once_from_the_registry_in_the_environment(
        self, release: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("npm_config_registry", "https://mirror.example/npm/")
        path = tmp_path / "onnxruntime.js"
        runtime.provide(path)
        runtime.provide(path)
        assert release == [
            f"https://mirror.example/npm/onnxruntime-web/-/onnxruntime-web-{runtime.VERSION}.tgz"
        ]
        assert path.read_text().startswith(f"/* onnxruntime-web {runtime.VERSION}, MIT licence")

    def test_another_release_than_the_pinned_one_is_refused(
        self, release: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runtime, "INTEGRITY", "other")
        with pytest.raises(runtime.NoRuntime, match="is not the pinned release"):
            runtime.provide(tmp_path / "onnxruntime.js")
        assert list(tmp_path.iterdir()) == []

    def test_without_the_registry_the_rest_of_the_page_is_made_and_it_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        def urlopen(url: str, timeout: float) -> Any:
            raise OSError("no route")

        monkeypatch.setattr(runtime, "urlopen", urlopen)
        shutil.copytree(ROOT / SOURCE, tmp_path / SOURCE)
        publish_playground(tmp_path)
        assert {path.name for path in (tmp_path / TARGET).iterdir()} == {
            "playground.js",
            "playground.css",
            "data.js",
        }
        assert "no route" in capsys.readouterr().out


def test_one_classic_script_is_left_of_the_modules() -> None:
    text = bundle(ROOT / SOURCE)
    assert not [line for line in text.splitlines() if line.startswith(("import ", "export "))]
    parts = {line[3:-3] for line in text.splitlines() if line.startswith("// ") and line.endswith(".js")}
    assert parts == {path.stem for path in (ROOT / SOURCE).glob("*.js")}


def test_the_page_prints_what_the_records_hold(tmp_path: Path) -> None:
    shutil.copytree(ROOT / SOURCE, tmp_path / SOURCE)
    path = tmp_path / SOURCE / "defended.json"
    record = json.loads(path.read_text())
    for row in record["measured"]:
        row |= {"n": 200, "correct_before": 150, "correct_after": 31, "flipped": 119}
    path.write_text(json.dumps(record))
    text = playground_pages(tmp_path)["playground_models.md"]
    assert "75.0" in text
    assert "15.5" in text
    assert record["provenance"]["commit"][:10] in text


def test_a_reader_without_javascript_is_told() -> None:
    html = (ROOT / SOURCE / "playground.html").read_text()
    assert "needs JavaScript" in html.split("<noscript>")[1].split("</noscript>")[0]
