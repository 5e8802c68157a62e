"""Distributed training: the curve of one process, one writer, a reported failure, a resumed run."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import finish, start, workers
from safetensors.torch import load_file, save_file
from torch import nn

from meddef.data.images import ImageSet
from meddef.errors import InputError, RunFailed
from meddef.evaluation.distributed_training import train_cell
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import missing
from meddef.records import CellResult, RecordStore
from meddef.settings import AdversarialSettings, TrainingSettings, load_profile
from meddef.training import launch
from meddef.training.process_group import Team

TOLERANCE = 1e-5
"""On losses, accuracies and weights; 2e-7 was seen."""
CLEAN = TrainingSettings(epochs=2, batch_size=8, learning_rate=0.001, adversarial=None)
ADVERSARIAL = CLEAN.model_copy(update={"adversarial": AdversarialSettings(steps=2)})
ALL_ON = ADVERSARIAL.model_copy(
    update={"class_weights": True, "augmentation": ["horizontal_flip", "translate"]}
)
MADRY = CLEAN.model_copy(update={"adversarial": AdversarialSettings(method="madry", steps=2)})
PROFILE = """
name: tiny
description: a test
image_size: 32
datasets:
  - {name: phantom_xray, split_policy: released, sizes: {train: 18, val: 5, test: 4}}
variants: [resnet18]
clean_variants: []
training: {epochs: 3, batch_size: 8, adversarial: {steps: 1}}
grids: {}
"""


def small_model() -> nn.Module:
    """No bias before BatchNorm: its gradient would be rounding noise, which Adam makes steps of full length from."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(196, 2),
    )


def images(count: int, seed: int) -> ImageSet:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 16, 16), generator=random, dtype=torch.uint8).numpy()
    labels = torch.randint(0, 2, (count,), generator=random).numpy()
    names = tuple(map(str, range(count)))
    return ImageSet(pixels, labels, names, names)


def train_small(folder: Path, settings: TrainingSettings) -> None:
    """In a worker: a training whose last batch is of two images, so that one of three processes has none."""
    from meddef.training import save_weights, train, trainer
    from meddef.training.launch import joined

    written = []
    save = trainer.save_checkpoint
    trainer.save_checkpoint = lambda *given, **header: (
        written.append(header["epoch"]),
        save(*given, **header),
    )
    model = small_model()
    with joined("cpu") as team:
        state = train(model, images(34, 0), images(5, 1), settings, seed=3, folder=folder, progress=False)
    save_weights(folder / f"final{team.rank}.safetensors", model)
    outcome = {"history": state.history, "written": written}
    (folder / f"outcome{team.rank}.json").write_text(json.dumps(outcome))


def trained(folder: Path, size: int, settings: TrainingSettings) -> list[dict[str, Any]]:
    """What each of ``size`` processes ends with: history, epochs it wrote a checkpoint after, weights."""
    folder.mkdir()
    agent = start(size, folder / "log", train_small, folder, settings)
    assert finish(agent) == 0, (folder / "log").read_text()
    outcomes = []
    for rank in range(size):
        outcome = json.loads((folder / f"outcome{rank}.json").read_text())
        outcomes.append({**outcome, "weights": load_file(folder / f"final{rank}.safetensors")})
    return outcomes


@pytest.mark.parametrize(
    ("settings", "size"),
    [(CLEAN, 2), (ADVERSARIAL, 2), (ALL_ON, 3), (MADRY, 3)],
    ids=["clean", "adversarial", "all on", "madry"],
)
def test_the_curve_and_the_weights_are_those_of_one_process(
    tmp_path: Path, settings: TrainingSettings, size: int
) -> None:
    (alone,) = trained(tmp_path / "alone", 1, settings)
    together = trained(tmp_path / "together", size, settings)
    for outcome in together:
        assert_same_curve(outcome["history"], alone["history"])
        for name, value in alone["weights"].items():
            assert torch.allclose(
                outcome["weights"][name].double(), value.double(), atol=TOLERANCE, rtol=0
            ), name
            assert torch.equal(outcome["weights"][name], together[0]["weights"][name]), name
    assert [outcome["written"] for outcome in together] == [[1, 2]] + [[]] * (size - 1)


def step_of_the_full_model(folder: Path) -> None:
    """In a worker: every 97th number of the gradients and the running statistics, after one batch of 5 and 2 images."""
    from meddef.models import build_model
    from meddef.training.distributed import Together
    from meddef.training.launch import joined

    torch.manual_seed(0)
    model = build_model("full", 2).double()
    batch = torch.rand(7, 3, 64, 64, dtype=torch.float64)
    with joined("cpu") as team:
        mine = torch.cat([batch[:5][team.share(5)], batch[5:][team.share(2)]])
        together = Together(model, team)
        torch.manual_seed(1)
        together.backward(together(mine, 5, 2).square().sum())
    gradients = {f"gradient of {name}": value.grad for name, value in model.named_parameters()}
    numbers = {
        name: value.flatten()[::97].clone()
        for name, value in (gradients | dict(model.named_buffers())).items()
    }
    save_file(numbers, folder / f"step{team.rank}.safetensors")


def test_a_step_of_the_full_model_is_that_of_one_process(tmp_path: Path) -> None:
    steps = []
    for size in (1, 3):
        agent = start(size, tmp_path / "log", step_of_the_full_model, tmp_path)
        assert finish(agent) == 0, (tmp_path / "log").read_text()
        steps += [load_file(tmp_path / f"step{rank}.safetensors") for rank in range(size)]
    for step in steps[1:]:
        assert step.keys() == steps[0].keys()
        for name, value in steps[0].items():
            assert torch.allclose(step[name].double(), value.double(), rtol=1e-9, atol=1e-12), name


def assert_same_curve(curve: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(curve) == len(expected)
    for row, wanted in zip(curve, expected, strict=True):
        assert row == {
            name: pytest.approx(value, abs=TOLERANCE) if isinstance(value, float) else value
            for name, value in wanted.items()
        }


def command(*arguments: str) -> None:
    """In a worker: the command line."""
    from meddef.cli import main

    sys.argv = ["meddef", *arguments]
    main()


def train_command(folder: Path, log: Path) -> Any:
    return start(
        2, log, command, "train", "--profile", str(folder.parent / "tiny.yaml"), "--variant", "resnet18",
        "--runs-dir", str(folder),
    )  # fmt: skip


def tiny_plan(folder: Path) -> tuple[Plan, RunOptions]:
    options = RunOptions(folder / "tiny")
    plan = make_plan(load_profile(str(folder.parent / "tiny.yaml")), options)
    return Plan(plan.profile, tuple(cell for cell in plan.cells if cell.kind == "train")), options


def result(folder: Path) -> CellResult:
    plan, options = tiny_plan(folder)
    found = RecordStore(options.folder).get(plan.cells[0].key)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ``meddef train`` by two processes."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "tiny.yaml").write_text(PROFILE)
    assert finish(train_command(folder / "runs", folder / "log")) == 0, (folder / "log").read_text()
    return folder / "runs"


def test_the_command_leaves_what_reproduce_finds(unbroken: Path) -> None:
    plan, options = tiny_plan(unbroken)
    assert missing(plan, RecordStore(options.folder)) == []
    found = result(unbroken)
    assert found.provenance["processes"] == 2
    assert len(found.records[0]["history"]) == 3
    left = sorted(path.name for path in (options.folder / "models" / found.key).iterdir())
    assert left == ["best.safetensors", "metrics.jsonl"]
    printed = (unbroken.parent / "log").read_text()
    assert printed.count("best epoch") == 1


@pytest.mark.fault(
    "one process of a distributed training is killed during an epoch",
    "the others stop too; the same command resumes, with a record bit-identical to that of an uninterrupted run",
    says="another process of this training has ended",
)
def test_a_killed_process_ends_all_and_the_same_command_resumes(
    unbroken: Path, tmp_path: Path, says: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(PROFILE)
    plan, options = tiny_plan(tmp_path / "runs")
    model = options.folder / "models" / plan.cells[0].key
    for victim in (1, 0):
        epochs = epochs_done(model)
        agent = train_command(tmp_path / "runs", log := tmp_path / f"log{victim}")
        while epochs_done(model) == epochs:
            assert agent.is_alive(), log.read_text()
            time.sleep(0.02)
        os.kill(workers(agent)[victim], signal.SIGKILL)
        assert finish(agent) != 0
        told = re.findall("meddef: .*", log.read_text())
        assert len(told) == 1
        assert told[0].startswith(f"meddef: process {1 - victim}: {says}")
        assert told[0].endswith("run the same command again to resume after the last complete epoch")
        assert RecordStore(options.folder).keys() == []
    assert epochs_done(model) == 2
    assert finish(train_command(tmp_path / "runs", tmp_path / "log")) == 0
    assert result(tmp_path / "runs").records == result(unbroken).records


def epochs_done(model: Path) -> int:
    metrics = model / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.is_file() else 0


def test_processes_that_differ_are_refused(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Team, "agrees", lambda team, value: False)
    with pytest.raises(InputError, match="differ in images, code or settings"):
        train_cell(*tiny_plan(unbroken), Team())
    with pytest.raises(InputError, match=r"do not see the same .*put it on a disk that all of them share"):
        train_small(tmp_path, CLEAN)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    launch._take_gpu("cuda", 1)
    assert taken == [1]
    with pytest.raises(InputError, match="no GPU: use --nproc-per-node 2 at most"):
        launch._take_gpu("cuda", 2)
    with pytest.raises(InputError, match="use cuda, each process then uses its own GPU"):
        launch._take_gpu("cuda:1", 0)


def test_only_a_lost_process_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    before = signal.getsignal(signal.SIGTERM)
    try:
        with (
            pytest.raises(RunFailed, match=r"process 3: .*Connection closed by peer"),
            launch._ending_together(),
        ):
            raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]")
        with pytest.raises(RunFailed, match="asked to stop"), launch._ending_together():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(RuntimeError, match="shapes differ"), launch._ending_together():
            raise RuntimeError("shapes differ")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_shares_follow_each_other_and_are_even() -> None:
    for count in range(9):
        for size in range(1, 5):
            shares = [range(count)[Team(rank, size).share(count)] for rank in range(size)]
            assert [index for share in shares for index in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
