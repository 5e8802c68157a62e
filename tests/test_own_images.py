"""Images of one's own, by folder, CSV file, profile or ``Dataset``, without editing the package."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import picture, save
from safetensors.torch import save_file
from test_data_colour import HUES, hue
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset
from typer.testing import CliRunner

from meddef.cli import app
from meddef.data import CARDS, cards
from meddef.data.cards import find_card, package_cards
from meddef.data.own import own_images
from meddef.errors import InputError
from meddef.evaluation import evaluate
from meddef.robustness import robustness_report
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train
from meddef.training.checkpoint import read_header

COUNTS = {"train": 8, "val": 4, "test": 6}
PROFILE = """
name: sub
description: a test
image_size: 32
datasets: []
variants: []
training: {epochs: 1, batch_size: 8, adversarial: {steps: 1}}
grids: {}
"""
NETS = """
import torch
from torch import nn

class Brightest(nn.Module):  # of the channels, red, green, blue, in the order of the classes blue, green, red
    def __init__(self, channels=3):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.channels = channels

    def forward(self, x):
        assert x.shape[1] == self.channels
        seen = x.mean((2, 3)) * self.scale
        return torch.stack([seen[:, -1], seen[:, x.shape[1] // 2], seen[:, 0]], 1)

def rgb(): return Brightest()
def grey(): return Brightest(1)
"""
EVALUATE = (
    "evaluate",
    "-w",
    "own.safetensors",
    "--image-size",
    "32",
    "--attack",
    "fgsm",
    "--eps",
    "1/255",
    "--json",
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder with own_hues.py, own.safetensors, hues/{train,val,test}/{blue,green,red} and all.csv."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDDEF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_hues", raising=False)
    before = dict(CARDS)
    (tmp_path / "own_hues.py").write_text(NETS)
    (tmp_path / "sub.yaml").write_text(PROFILE)
    save_file({"scale": torch.ones(1)}, tmp_path / "own.safetensors")
    seed, rows = 0, ["Path,label,patient,split,age"]
    for split, count in COUNTS.items():
        for name in HUES:
            for _ in range(count):
                seed += 1
                speckled = np.random.default_rng(seed).integers(0, 9, (32, 32, 3), np.uint8)  # no two alike
                image = np.maximum(hue(name, seed), speckled)
                path = save(image, Path(f"hues/{split}/{name}/{seed}.png"))
                rows.append(f"{path},{name},p{seed // 2},{split},40")
    Path("all.csv").write_text("\n".join(rows) + "\n")
    yield tmp_path
    CARDS.clear()
    CARDS.update(before)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def judged(*arguments: str) -> dict[str, object]:
    return json.loads(run(*EVALUATE, *arguments))


@pytest.mark.parametrize("images", [("--data", "hues"), ("--csv", "all.csv"), ("--data", "hues/test")])
def test_an_own_model_on_own_colour_images(place: Path, images: tuple[str, ...]) -> None:
    found = judged(*images, "--model", "own_hues:rgb")
    assert found["n"] == 18
    assert found["headline"]["clean_accuracy"] == 1


def test_an_own_order_of_classes(place: Path) -> None:
    found = judged("--data", "hues", "--model", "own_hues:rgb", "--classes", "red,green,blue")
    assert found["headline"]["clean_accuracy"] == pytest.approx(6 / 18)  # green alone keeps its place


def test_one_channel_is_said_and_given(place: Path) -> None:
    result = CliRunner().invoke(
        app,
        [*EVALUATE, "--data", "hues", "--model", "own_hues:grey", "--channels", "1"],
        catch_exceptions=False,
    )
    assert json.loads(result.stdout)["n"] == 18
    assert "turned to grey (--channels 3 keeps the colour): 54" in result.stderr
    assert "classes: 0 blue, 1 green, 2 red" in result.stderr


def test_robustness_is_checked_on_own_images(place: Path) -> None:
    told = run("check-robustness", "-w", "own.safetensors", "--model", "own_hues:rgb", "--data", "hues", "--eps",
               "1/255", "--image-size", "32", "--budget", "brief", "--json")  # fmt: skip
    assert json.loads(told)["n"] == 18


def test_training_on_own_images_and_judging_those_kept_aside(place: Path) -> None:
    told = run("train", "--data", "hues", "--variant", "resnet18", "-p", "sub.yaml", "--image-size", "32x40",
               "-o", "w.safetensors")  # fmt: skip
    assert "(split policy released, seed 0), 32 x 40 px" in told
    header = read_header(Path("w.safetensors"))
    assert header["data"]["channels"] == 3
    assert header["data"]["image_size"] == [32, 40]
    assert str(place) not in json.dumps(header)
    told = run("evaluate", "-w", "w.safetensors", "--data", "hues", "--attack", "clean")
    assert "32 x 40 px" in told
    assert "these images held out" in told
    CARDS.pop("hues")
    with pytest.raises(InputError, match="was trained with images 'hues', which the package does not have"):
        run("evaluate", "-w", "w.safetensors", "--attack", "clean")
    with pytest.raises(InputError, match="channels 3 there, 1 here"):
        run("evaluate", "-w", "w.safetensors", "--data", "hues", "--attack", "clean", "--channels", "1")
    Path("hues/test/red").rename("elsewhere")
    with pytest.raises(InputError, match="trained with other images of hues"):
        run("evaluate", "-w", "w.safetensors", "--data", "hues", "--attack", "clean")


def test_a_csv_without_splits_is_split_by_patient_to_train_on(place: Path) -> None:
    rows = [line.rsplit(",", 2)[0] for line in Path("all.csv").read_text().splitlines()]
    Path("plain.csv").write_text("\n".join(rows))
    told = run(
        "train", "--csv", "plain.csv", "--variant", "resnet18", "-p", "sub.yaml", "-o", "w.safetensors"
    )
    assert "split policy patient" in told
    assert "split policy patient" in run(
        "evaluate", "-w", "w.safetensors", "--csv", "plain.csv", "--attack", "clean"
    )


def test_data_show_counts_and_check_finds(place: Path) -> None:
    shown = json.loads(run("data", "show", "--csv", "all.csv", "--split-policy", "released", "--format", "json",
                           "--image-size", "32"))  # fmt: skip
    assert shown["report"]["counts_before_removal"]["test"] == dict.fromkeys(HUES, 6)
    assert shown["report"]["patients"]["patients"] == 28
    assert "turned to grey" not in str(shown["report"]["read_as"])
    assert "turned to grey (--channels 3 keeps the colour): 54" in run(
        "data", "show", "--data", "hues", "--channels", "1", "--image-size", "32"
    )
    assert "patients: not known" in run("data", "show", "--data", "hues", "--image-size", "32")


def test_a_split_that_changes_in_the_csv_is_followed(place: Path) -> None:
    before = judged("--csv", "all.csv", "--model", "own_hues:rgb")
    text = Path("all.csv").read_text()
    Path("all.csv").write_text(text.replace(",val,", ",test,"))
    assert (before["n"], judged("--csv", "all.csv", "--model", "own_hues:rgb")["n"]) == (18, 30)


def test_deep_files_go_through_the_window(place: Path) -> None:
    for number in range(6):
        deep = picture(number).astype(np.uint16) * 16 + 1000  # 1000 to 5080
        save(deep, Path(f"deep/{'ab'[number % 2]}/{number}.png"))
    args = ("data", "show", "--data", "deep", "--image-size", "48", "--split-policy", "released")
    assert "read through the window 1000 to 5080: 6" in run(*args, "--window", "1000", "5080")
    told = run(*args)
    assert "each stretched from percentile 1 to 99" in told
    assert "--window" in told
    flat = run("data", "show", "--data", "hues", "--image-size", "32", "--window", "0", "4095")
    assert "the window was not used: no file is deeper than 8 bits" in flat


CSV = "path,label\nhues/val/red/33.png,red\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na,b\n", "has no column path: it must have path and label"),
        ("path,label\n", "holds no class"),
        (CSV, "holds red: a classifier needs two classes"),
        (CSV + "hues/val/red/33.png,blue\n", "line 3 lists hues/val/red/33.png again"),
        (CSV + "x.png,\n", "line 3 has no label"),
        (
            "path,label,split\na.png,a,train\nb.png,b,holdout\n",
            "line 3 has split 'holdout', not train, val, test",
        ),
        ("path,label,split\na.png,a,train\nb.png,b,train\n", "lists no images of split test"),
        (CSV + "x.png,blue\n", r"1 of 2 files cannot be used: x.png \(not a file\)"),
        ("", "is not a readable CSV file"),
        (
            "path,label\na.png,0\nb.png,1\nc.png,1.0\n",
            "labels '1' and '1.0' look like one class written in two ways",
        ),
        ("path,label\na.png,Red\nb.png,red\n", "labels 'Red' and 'red' look like one class"),
    ],
)
def test_wrong_tables_are_one_line(place: Path, text: str, message: str) -> None:
    Path("wrong.csv").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        judged("--csv", "wrong.csv", "--model", "own_hues:rgb")
    assert "\n" not in str(error.value)


def test_own_images_are_shown_as_they_are_trained_on(place: Path) -> None:
    assert "split policy released" in " ".join(run("data", "show", "--data", "hues").split())
    assert "split policy paper" in " ".join(run("data", "show", "--data", "hues/test").split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "nowhere"), "--data nowhere is no folder"),
        (("--data", "all.csv"), "is no folder: a list of images is --csv"),
        (("--csv", "hues"), "is no file: a folder of images is --data"),
        (("--data", "hues/test/red"), "holds no class folders"),
        (("--data", "hues", "--csv", "all.csv"), "--data and --csv both name images"),
        (("--dataset", "roct", "--window", "0", "1"), "--classes and --window are for --data or --csv"),
        (("--data", "hues", "--window", "5", "5"), "the first must be lower"),
        (("--data", "hues", "--channels", "2"), "neither 1 nor 3"),
        (("--data", "hues", "--classes", "red,green"), "class folders blue that are none of red, green"),
        (("--data", "hues", "--image-size", "10"), "sides must be at least 28"),
        (("--data", "hues", "--image-size", "32x"), "neither a side nor height x width"),
    ],
)
def test_wrong_options_are_one_line(place: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judged("--model", "own_hues:rgb", *options)


def test_a_size_is_not_guessed(place: Path) -> None:
    with pytest.raises(InputError, match="does not say at which size it was trained: give --image-size"):
        run("evaluate", "-w", "own.safetensors", "--model", "own_hues:rgb", "--data", "hues")


def test_a_folder_beside_the_splits_is_refused(place: Path) -> None:
    Path("hues/val").rename("hues/valid")
    with pytest.raises(
        InputError, match="holds valid beside train, test: rename it to one of train, val, test"
    ):
        judged("--data", "hues", "--model", "own_hues:rgb")


def test_labels_that_are_numbers_are_in_their_order(place: Path) -> None:
    Path("n.csv").write_text("path,label\n" + "".join(f"{i}.png,{i}\n" for i in range(12)))
    assert own_images(Path("n.csv")).card.classes == tuple(map(str, range(12)))


def test_a_folder_with_the_name_of_a_dataset_of_the_package(place: Path) -> None:
    Path("hues").rename("roct")
    assert own_images(Path("roct")).card.name == "own_roct"
    assert find_card("roct").classes == package_cards()["roct"].classes


CARD = """
datasets:
  - name: skin
    channels: 3
    card: {kind: folder, title: t, modality: m, source: s, licence: l, classes: [%s], citation: c, how_to_get: h,
           preprocessing: {}}
"""


@pytest.mark.parametrize(
    ("classes", "fault"), [("NO, YES", None), ("false, YES", "card.classes.0: Input should be")]
)
def test_a_card_in_a_profile(place: Path, classes: str, fault: str | None) -> None:
    for split in COUNTS:
        for number in range(8):
            save(
                picture(number + 10 * len(split)),
                Path(f"d/skin/{split}/{('NO', 'YES')[number % 2]}/{number}.png"),
            )
    Path("skin.yaml").write_text(PROFILE.replace("datasets: []", CARD % classes))
    args = (
        "data",
        "show",
        "--dataset",
        "skin",
        "--profile",
        "skin.yaml",
        "--data-dir",
        "d",
        "--image-size",
        "32",
    )
    if fault is None:
        assert "files: 24; skipped: 0" in run(*args)
        return
    with pytest.raises(InputError, match=fault) as error:
        run(*args)
    assert "\n" not in str(error.value)


def test_a_mistake_in_the_packages_cards_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cards.read_yaml
    monkeypatch.setattr(
        cards, "read_yaml", lambda *given: {"roct": whole(*given)["roct"] | {"classes": [False]}}
    )
    with pytest.raises(
        InputError, match=r"^card roct in cards.yaml: classes.0: Input should be a valid string$"
    ):
        package_cards.__wrapped__()


class Squares(Dataset):  # type: ignore[type-arg]
    """Bright images are of class 1; labels are tensors of one element."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(index)) * 0.4
        return noise + 0.5 * (index % 2), torch.tensor(index % 2)


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


def test_any_dataset_trains_and_is_judged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Mean()
    for number, rule in enumerate((None, AdversarialSettings(steps=1))):
        settings = TrainingSettings(
            epochs=6, learning_rate=0.05, batch_size=8, adversarial=rule, channels_last=False
        )
        state = train(
            model, Squares(), Squares(), settings, seed=0, folder=tmp_path / str(number), progress=False
        )
        assert state.history[-1]["val_clean"] == 1
    outcome = evaluate(model, Squares(), None)
    assert (outcome.counts.n, outcome.counts.correct_before) == (40, 40)
    assert outcome.labels.tolist() == [0, 1] * 20
    assert robustness_report(model, Squares(), eps=0.01, budget="brief")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (TensorDataset(torch.rand(4, 1, 8, 8)), r"train_set\[0\] must be a pair"),
        (
            TensorDataset(torch.rand(4, 8), torch.zeros(4, dtype=torch.long)),
            r"must be a float tensor \(C, H, W\)",
        ),
        (TensorDataset(torch.rand(4, 1, 8, 8), torch.rand(4)), "one class index"),
        (
            TensorDataset(3 * torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)),
            r"pixels must be in \[0, 1\]",
        ),
        (TensorDataset(torch.rand(0, 1, 8, 8), torch.zeros(0, dtype=torch.long)), "train_set has no images"),
        (
            type("Stream", (IterableDataset,), {"__iter__": iter})(),
            "train_set is a Stream: give a dataset",
        ),
    ],
)
def test_other_datasets_are_refused(tmp_path: Path, given: Dataset, message: str) -> None:  # type: ignore[type-arg]
    settings = TrainingSettings(epochs=1, adversarial=None)
    with pytest.raises(InputError, match=message):
        train(Mean(), given, Squares(), settings, seed=0, folder=tmp_path, progress=False)
