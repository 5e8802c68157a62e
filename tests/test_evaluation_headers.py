"""The header of weights: what a twin's, a copy's, an older version's or another program's say, and from Python."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_evaluation_images import CLEAN, _here, refused, run, trained  # noqa: F401  (fixtures)

from meddef.data import load_splits
from meddef.errors import InputError
from meddef.evaluation import describe
from meddef.evaluation.single import load_model
from meddef.models import build_model
from meddef.training import save_weights
from meddef.training.checkpoint import read_header


def test_a_twin_of_other_images_is_refused(
    trained: str,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("train", "--variant", "resnet18", "-p", "other.yaml", "-o", "twin.safetensors")
    line = refused(
        capsys,
        monkeypatch,
        "check-robustness",
        "-w",
        trained,
        "--twin-weights",
        "twin.safetensors",
        "--eps",
        "0.1",
    )
    assert "twin.safetensors was trained with other images: preprocessing" in line


def test_from_python_too(trained: str) -> None:  # noqa: F811
    splits = load_splits(
        "phantom_xray", image_size=32, sizes={"train": 8, "val": 4, "test": 6}, progress=False
    )
    with pytest.raises(InputError, match=r"trained with other images of phantom_xray \(fingerprint"):
        load_model(Path(trained), "resnet18", splits, device="cpu")
    net, _ = load_model(Path(trained), "resnet18", splits, device="cpu", other_data=True)
    assert not net.training
    with pytest.raises(InputError, match="unknown split 'tests': choose from train, val, test"):
        splits.part("tests")


def test_weights_of_an_earlier_version_are_judged_and_what_they_do_not_say_is_said() -> None:
    save_weights(Path("old.safetensors"), build_model("resnet18", 2), epoch=2)  # all that their header held
    told = run(
        "evaluate",
        "-w",
        "old.safetensors",
        "--dataset",
        "phantom_xray",
        "--variant",
        "resnet18",
        "-p",
        "sub.yaml",
        *CLEAN,
    )
    assert "old.safetensors: unknown training data" in told
    assert "6 of the 6 images of split test of phantom_xray (drawn from seed 3)" in told


def test_the_copy_of_such_weights_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meddef.evaluation.cells.describe", lambda splits, **about: {})
    train = ("train", "--variant", "resnet18", "-p", "sub.yaml")
    run(*train)
    (weights,) = Path("runs").rglob("best.safetensors")
    assert read_header(weights) == {"epoch": 0}
    run(*train, "-o", "copy.safetensors")
    header = read_header(Path("copy.safetensors"))
    assert (header["epoch"], header["variant"], header["data"]["split_seed"]) == (0, "resnet18", 3)
    assert all(
        torch.equal(value, load_file("copy.safetensors")[name]) for name, value in load_file(weights).items()
    )


def test_weights_of_another_program_say_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for metadata in ({"format": "pt"}, {"header": "written by hand"}, {"header": "[1]"}, None):
        save_file({"x": torch.zeros(1)}, "foreign.safetensors", metadata=metadata)
        assert read_header(Path("foreign.safetensors")) == {}
    line = refused(capsys, monkeypatch, "evaluate", "-w", "foreign.safetensors", "--variant", "full")
    assert "foreign.safetensors does not name the images it was trained with: give --dataset" in line
    Path("broken.safetensors").write_bytes(b"no weights")
    assert "not a whole safetensors file" in refused(
        capsys, monkeypatch, "evaluate", "-w", "broken.safetensors"
    )


def test_a_header_that_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = load_splits(
        "phantom_xray", image_size=32, sizes={"train": 4, "val": 4, "test": 4}, progress=False
    )
    header = describe(splits, variant="resnet18", seed=0, training={})
    header["data"]["split_policy"] = "magic"
    save_weights(Path("odd.safetensors"), build_model("resnet18", 2), **header)
    assert "has an invalid header (split_policy" in refused(
        capsys, monkeypatch, "evaluate", "-w", "odd.safetensors"
    )


def test_a_header_that_leaves_things_open_says_so_and_classes_have_an_order(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = load_splits(
        "phantom_xray", image_size=32, sizes={"train": 4, "val": 4, "test": 4}, progress=False
    )
    header = describe(splits, variant="resnet18", seed=0, training={})
    model = build_model("resnet18", 2)
    save_weights(Path("turned.safetensors"), model, **header | {"classes": header["classes"][::-1]})
    line = refused(capsys, monkeypatch, "evaluate", "-w", "turned.safetensors")
    assert "was trained to tell PNEUMONIA, NORMAL, not NORMAL, PNEUMONIA" in line
    header["data"]["fingerprint"] = None
    save_weights(Path("open.safetensors"), model, **header)
    told = run("evaluate", "-w", "open.safetensors", "--attack", "clean")
    assert "unknown training data" in " ".join(told.split())
