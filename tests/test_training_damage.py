"""Checkpoints and best weights that are not what a training left: it starts over, and has the same weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_training import SETTINGS, images, run, tiny_model
from torch import Tensor

import meddef.training.trainer as trainer
from meddef.errors import InputError
from meddef.training import load_weights, train

BEST, CHECKPOINT = trainer.BEST, trainer.CHECKPOINT
Change = Callable[[dict[str, Tensor], dict[str, Any]], object]


def rewrite(path: Path, change: Change, *, checksum: bool = False) -> None:
    """Change tensors and header in place; without a ``checksum`` the file is as earlier versions wrote it."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["header"])
    if not checksum:
        header.pop("sha256", None)
        header.pop("best", None)
    change(tensors, header)
    save_file(tensors, path, metadata=metadata | {"header": json.dumps(header, sort_keys=True)})


def flip(path: Path, place: float, bit: int = 64) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= bit
    path.write_bytes(content)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """What two epochs of three leave, and the weights in the end."""
    folder = tmp_path_factory.mktemp("stopped")
    expected, _ = run(folder / "whole")
    save, calls = trainer.save_checkpoint, []

    def save_then_die(*arguments: object, **keywords: object) -> None:
        save(*arguments, **keywords)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            run(folder / "two")
    return folder / "two", expected.state_dict()


def nan_in_a_buffer(tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    tensors["model.1.running_mean"][0] = float("nan")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "rubbish": lambda folder: (folder / CHECKPOINT).write_bytes(b"\x00" * 100),
    "empty": lambda folder: (folder / CHECKPOINT).write_bytes(b""),
    "cut": lambda folder: (folder / CHECKPOINT).write_bytes((folder / CHECKPOINT).read_bytes()[:-50]),
    "an exponent bit": lambda folder: flip(folder / CHECKPOINT, 0.9),
    "a bit of the header": lambda folder: flip(folder / CHECKPOINT, 0.02, 1),
    "another epoch": lambda folder: rewrite(
        folder / CHECKPOINT, lambda t, h: h.update(epoch=1), checksum=True
    ),
    "another epoch, no checksum": lambda folder: rewrite(folder / CHECKPOINT, lambda t, h: h.update(epoch=1)),
    "another best epoch": lambda folder: rewrite(folder / CHECKPOINT, lambda t, h: h.update(best_epoch=-1)),
    "NaN in a buffer": lambda folder: rewrite(folder / CHECKPOINT, nan_in_a_buffer),
    "no history": lambda folder: rewrite(folder / CHECKPOINT, lambda t, h: h.pop("history")),
    "an unknown field": lambda folder: rewrite(folder / CHECKPOINT, lambda t, h: h.update(colour=1)),
    "a list for a header": lambda folder: rewrite(folder / CHECKPOINT, lambda t, h: h.clear()),
    "best missing": lambda folder: (folder / BEST).unlink(),
    "best of another training": lambda folder: rewrite(folder / BEST, lambda t, h: t["5.bias"].add_(1)),
    "a bit of best": lambda folder: flip(folder / BEST, 0.9),
    "best cut": lambda folder: (folder / BEST).write_bytes((folder / BEST).read_bytes()[:200]),
}


@pytest.mark.fault(
    "a checkpoint, or the best weights beside it, is cut, edited, of another epoch or training, or missing",
    "both have checksums and name each other; the model is trained from the start and has the same weights",
    says="checkpoint.safetensors is damaged",
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_training_starts_over(
    stopped: tuple[Path, dict[str, Tensor]],
    tmp_path: Path,
    damage: str,
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, expected = stopped
    shutil.copytree(folder, tmp_path / "run")
    DAMAGES[damage](tmp_path / "run")
    model, _ = run(tmp_path / "run")
    assert says in caplog.text
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("checksum", [True, False])
def test_a_checkpoint_goes_on_with_and_without_checksums(
    stopped: tuple[Path, dict[str, Tensor]], tmp_path: Path, checksum: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder, expected = stopped
    shutil.copytree(folder, tmp_path / "run")
    if not checksum:
        for name in (BEST, CHECKPOINT):
            rewrite(tmp_path / "run" / name, lambda tensors, header: None)
    model, _ = run(tmp_path / "run")
    assert caplog.text == ""
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_the_same_training_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the digest of weights in a record tells whether they are the same; a checkpoint also keeps the time."""
    monkeypatch.setattr(trainer, "perf_counter", lambda: 0.0)
    for name in ("first", "second"):
        run(tmp_path / name)
    for name in (BEST, CHECKPOINT):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_weights_that_change_while_the_model_is_trained_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(
        InputError, match=r"best.safetensors changed during the training: remove .*run and train"
    ):
        train(
            tiny_model(), images(40, 0), images(20, 1), SETTINGS, seed=3, folder=folder, progress=False,
            look=lambda epochs, model: flip(folder / BEST, 0.9) or {} if epochs == 3 else {},
        )  # fmt: skip


def test_weights_that_were_edited_are_refused(
    stopped: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    shutil.copy(stopped[0] / BEST, tmp_path / BEST)
    load_weights(tmp_path / BEST, tiny_model())
    flip(tmp_path / BEST, 0.9)
    with pytest.raises(InputError, match="its checksum does not match"):
        load_weights(tmp_path / BEST, tiny_model())
