"""The evaluated images: those held out in training, as named in the output."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import make_chest, picture, save
from safetensors.torch import save_file
from typer.testing import CliRunner

from meddef.cli import app, main
from meddef.data import load_splits
from meddef.evaluation import evaluate
from meddef.evaluation.cells import batches
from meddef.evaluation.single import load_model
from meddef.evaluation.weights_header import describe, settings_in
from meddef.models import build_model
from meddef.training import save_weights
from meddef.training.checkpoint import read_header

PROFILE = """
name: sub
description: a test
image_size: 32
datasets: [{name: phantom_xray, sizes: {train: 8, val: 4, test: 6}, split_seed: 3, preprocessing: {brightness: 1.5}}]
variants: [resnet18]
training: {epochs: 1, batch_size: 8, adversarial: null}
grids: {}
"""
MODELS = """
from torch import nn
def net(): return nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3, 2))
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    torch.set_num_threads(1)
    Path("own_net.py").write_text(MODELS)
    Path("sub.yaml").write_text(PROFILE)
    Path("other.yaml").write_text(
        PROFILE.replace("sub", "other").replace("brightness: 1.5", "min_max: false")
    )
    save_file({"2.weight": torch.zeros(2, 3), "2.bias": torch.tensor([1.0, 0.0])}, "own.safetensors")


def run(*arguments: str) -> str:
    """What the command prints, its lines joined."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["meddef", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture
def trained() -> str:
    """Weights of ``sub.yaml``, as 'meddef train -o' leaves them."""
    run("train", "--variant", "resnet18", "-p", "sub.yaml", "-o", "w.safetensors", "--seed", "2")
    return "w.safetensors"


CLEAN = ("--attack", "clean")
OWN = ("evaluate", "-w", "own.safetensors", "--model", "own_net:net", "--dataset", "chest_xray", *CLEAN)


def leak(folder: Path) -> Path:
    """Chest X-rays of which train/ holds ten times as many as test/, as the release does."""
    make_chest(folder, patients=8)
    for number in range(40):
        kind = ("NORMAL/IM-9{0:03d}-0001.png", "PNEUMONIA/person9{0:03d}_virus_1.png")[number % 2].format(
            number
        )
        save(picture(1000 + number), folder / "chest_xray" / "train" / kind)
    return folder


def test_the_released_test_images_are_judged_and_named(tmp_path: Path) -> None:
    data = leak(tmp_path)
    told = run(*OWN, "--data-dir", str(data), "--image-size", "32")
    count = len(list((data / "chest_xray" / "test").rglob("*.png")))
    assert (
        f"images: {count} of the {count} images of split test of chest_xray (split policy released), 32 px"
        in told
    )
    assert f"in {data / 'chest_xray'}: {count} from test" in told.replace("\n", "")
    assert "own.safetensors: unknown training data" in told


def test_a_drawn_split_says_how_many_of_its_images_were_released_for_training(tmp_path: Path) -> None:
    data = leak(tmp_path)
    told = run(*OWN, "--data-dir", str(data), "--image-size", "32", "--split-policy", "paper")
    splits = load_splits("chest_xray", image_size=32, split_policy="paper", data_dir=data, progress=False)
    folders = [name.split("/")[0] for name in splits.test.names]
    assert folders.count("train") > folders.count("test")
    assert f"{folders.count('train')} from train" in told
    assert "(split policy paper, seed 0)" in told


@pytest.mark.parametrize("split", ["train", "val"])
def test_another_split_is_judged_when_it_is_asked_for(tmp_path: Path, split: str) -> None:
    data = leak(tmp_path)
    told = run(*OWN, "--data-dir", str(data), "--image-size", "32", "--split", split, "--images", "5")
    assert f", chest_xray, {min(5, 4 if split == 'val' else 5)} {split} images" in told
    assert f"from {split}" in told
    assert "from test" not in told


def test_training_without_a_profile_that_names_the_dataset_keeps_the_released_test_images_aside(
    tmp_path: Path,
) -> None:
    data = ("--data-dir", str(leak(tmp_path)))
    train = ("train", "--variant", "resnet18", "--dataset", "chest_xray", "-p", "sub.yaml", *data)
    assert "(split policy released" in run(*train, "-o", "w.safetensors")
    assert read_header(Path("w.safetensors"))["data"]["split_policy"] == "released"
    told = run("evaluate", "-w", "w.safetensors", *CLEAN, *data)
    assert "(split policy released), 32 px" in told
    assert "from train" not in told
    run(*train, "--split-policy", "patient", "-o", "p.safetensors")
    told = run("evaluate", "-w", "p.safetensors", *CLEAN, *data)
    assert "(split policy patient, seed 0)" in told
    assert "trained by meddef" in told


def test_weights_say_what_they_are(trained: str) -> None:
    header = read_header(Path(trained))
    splits = load_splits(
        "phantom_xray", image_size=32, seed=3, sizes={"train": 8, "val": 4, "test": 6},
        preprocessing=settings_in(header, Path(trained)).preprocessing, progress=False,  # type: ignore[union-attr]
    )  # fmt: skip
    assert header["data"] == {
        "dataset": "phantom_xray",
        "fingerprint": splits.fingerprint,
        "image_size": 32,
        "split_policy": "paper",
        "split_seed": 3,
        "sizes": {"train": 8, "val": 4, "test": 6},
        "preprocessing": {
            "resize": "area", "pad": True, "denoise": None, "min_max": True, "clahe": None, "brightness": 1.5
        },
    }  # fmt: skip
    assert (header["variant"], header["classes"], header["seed"]) == ("resnet18", ["NORMAL", "PNEUMONIA"], 2)
    assert header["training"]["epochs"] == 1
    assert header["meddef"]
    assert str(Path.cwd()) not in json.dumps(header)


def test_weights_are_judged_on_the_images_that_they_say_were_kept_aside(trained: str) -> None:
    bare = run("evaluate", "-w", trained, *CLEAN)
    assert bare == run("evaluate", "-w", trained, *CLEAN, "-p", "sub.yaml", "--dataset", "phantom_xray")
    assert bare == run("evaluate", "-w", trained, *CLEAN, "--image-size", "32", "--variant", "resnet18")
    assert "images: 6 of the 6 images of split test of phantom_xray (drawn from seed 3), 32 px" in bare
    assert "with seed 2, these images held out" in bare


def test_the_robustness_report_too(trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def report(model: object, loader: object, **settings: object) -> list[object]:
        seen.extend(len(labels) for _, labels in loader)  # type: ignore[attr-defined]
        return []

    monkeypatch.setattr("meddef.audit.robustness_report", report)
    result = CliRunner().invoke(app, ["check-robustness", "-w", trained, "--eps", "0.1", "--json"])
    assert json.loads(result.stdout)["items"] == []
    assert "6 of the 6 images of split test of phantom_xray (drawn from seed 3)" in result.stderr
    assert seen == [6]


DIFFERENT = {
    "image size": (("--image-size", "40"), "image size 32 there, 40 here"),
    "profile": (
        ("-p", "other.yaml"),
        "preprocessing brightness=1.5, min_max=True there, brightness=None, min_max=False here",
    ),
    "smoke": (("-p", "smoke", "--dataset", "phantom_xray"), "image size 32 there, 64 here"),
    "its seed": (("-p", "smoke"), "seed of the split 3 there, 0 here"),
    "its sizes": (("-p", "smoke"), "images per split .* here"),
    "dataset": (("--dataset", "chest_xray"), "dataset phantom_xray there, chest_xray here"),
    "variant": (("--variant", "full"), "holds the weights of resnet18, not of full: leave --variant out"),
    "classes": (
        ("--dataset", "phantom_oct"),
        "was trained to tell NORMAL, PNEUMONIA, not CNV, DME, DRUSEN, NORMAL",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.parametrize(
    "command", [("evaluate", *CLEAN), ("check-robustness", "--eps", "0.1")], ids=lambda c: c[0]
)
def test_what_differs_is_refused_in_one_line(
    trained: str,
    name: str,
    command: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, said = DIFFERENT[name]
    line = refused(capsys, monkeypatch, *command, "-w", trained, *given)
    for part in said.split(".*"):
        assert part.strip() in line


def test_another_policy_of_splitting_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("--data-dir", str(leak(tmp_path)))
    run(
        "train",
        "--variant",
        "resnet18",
        "--dataset",
        "chest_xray",
        "-p",
        "sub.yaml",
        *data,
        "-o",
        "w.safetensors",
    )
    line = refused(capsys, monkeypatch, "evaluate", "-w", "w.safetensors", "--split-policy", "paper", *data)
    assert "split policy released there, paper here" in line
    assert "--other-data" in line
    save(picture(5000), tmp_path / "chest_xray" / "test" / "NORMAL" / "IM-0999-0001.png")
    line = refused(capsys, monkeypatch, "evaluate", "-w", "w.safetensors", *data)
    assert "was trained with other images of chest_xray (fingerprint" in line
    told = run("evaluate", "-w", "w.safetensors", *CLEAN, *data, "--other-data")
    assert "w.safetensors: trained on other images, of chest_xray" in told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--split", "tests"), "--split 'tests' is unknown: use one of train, val, test"),
        (("--split-policy", "mine"), "unknown split policy 'mine'"),
    ],
)
def test_unknown_splits_are_refused(
    given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said in refused(capsys, monkeypatch, *OWN, *given)


def test_every_image_of_a_split_is_judged_once() -> None:
    splits = load_splits(
        "phantom_xray", image_size=32, sizes={"train": 4, "val": 4, "test": 9}, progress=False
    )
    save_weights(
        Path("w.safetensors"),
        build_model("resnet18", 2),
        **describe(splits, variant="resnet18", seed=0, training={}),
    )
    net, layout = load_model(Path("w.safetensors"), "resnet18", splits, device="cpu")
    outcome = evaluate(net, batches(splits.test, 100, 4, "cpu", layout), None)
    assert sorted(outcome.labels) == sorted(splits.test.labels)
    assert np.bincount(outcome.labels).sum() == 9
