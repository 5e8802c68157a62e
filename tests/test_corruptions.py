"""Every kind of file that a run reads again, corrupted in thirteen ways: what the next command makes of it.

``corruptions.csv`` is the book's table of corruptions and what the test expects; a wrong number without a word, a
traceback and a state that "run again" never leaves are failures.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import torch
from corruptions import CORRUPTIONS, remove
from data_folders import make_chest
from report_records import data_record, write_run
from test_notebooks import make_notebook
from torch import nn

import meddef.evaluation.attack_checkpoint as unfinished
import meddef.evaluation.cells as cells
import meddef.training.trainer as trainer
from meddef import cli
from meddef.atomic import write_text
from meddef.book import notebooks
from meddef.data import Preprocessing, load_splits
from meddef.errors import InputError
from meddef.records import RecordStore
from meddef.report.report import Report

PROFILE = """
name: corrupted
description: two seeds of a model of a few weights
image_size: 32
batch_size: 1
seeds: [0, 1]
datasets:
  - {name: chest_xray, split_policy: released, preprocessing: {}}
variants: [resnet18]
training: {epochs: 3, batch_size: 8, learning_rate: 0.01}
grids:
  epsilon: {eps: [0.05], attacks: {fgsm: {}, pgd: {steps: 2}}}
"""
TABLE, NOTEBOOK = Path(__file__).with_name("corruptions.csv"), "executed notebook"
AGAIN, REFUSED, NO_HARM = "computed again", "refused", "no harm"


def small_model(variant: str, classes: int, **named: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, classes)
    )


@dataclass
class State:
    """Folders of a run that was done or stopped, which every corruption gets a copy of."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "runs" / "corrupted"

    def command(self, *words: str) -> None:
        given = ["--profile", str(self.home / "profile.yaml"), "--runs-dir", str(self.home / "runs")]
        given += ["--data-dir", str(self.home / "data")]
        sys.argv = ["meddef", *words[:1], *given, *words[1:]]
        cli.main()

    def reproduce(self, *words: str) -> None:
        self.command("reproduce", "--no-report", "--jobs", "1", *words)

    def copy(self, home: Path) -> "State":
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.home, home, copy_function=shutil.copy2)
        return State(home)


@dataclass(frozen=True)
class Kind:
    """Where a kind of file lies in a state, and one like it."""

    state: str
    find: Callable[[State], tuple[Path, Path]]
    words: tuple[str, ...] = ()  # of the command, beside the usual
    check: Callable[[State], object] | None = None  # another reader


def cell_files(kind: str) -> Callable[[State], tuple[Path, Path]]:
    """The first cell of a kind or attack, and the second one or, where there is none, any other."""

    def find(state: State) -> tuple[Path, Path]:
        rows = [json.loads(line) for line in (state.run / "records.jsonl").read_text().splitlines()]
        keys = sorted(rows, key=lambda row: row.get("attack", row["kind"]) != kind)
        first, second = (state.run / "cells" / f"{row['key']}.json" for row in keys[:2])
        return first, second

    return find


def files(pattern: str) -> Callable[[State], tuple[Path, Path]]:
    """The first two that match, from the state's folder."""
    return lambda state: tuple(sorted(state.home.glob(pattern)))[:2]  # type: ignore[return-value]


def published(name: str) -> Callable[[State], tuple[Path, Path]]:
    return lambda state: (
        state.home / "results" / "corrupted" / f"{name}.jsonl",
        state.home / "results" / "other" / f"{name}.jsonl",
    )


def exported(name: str) -> Callable[[State], tuple[Path, Path]]:
    return lambda state: (state.run / f"{name}.jsonl", state.home / "results" / "other" / f"{name}.jsonl")


def load_report(state: State) -> None:
    Report.load("corrupted", state.home / "results")


def memory(state: State) -> tuple[Path, Path]:
    """What is remembered of the image files of this copy, and of other files of their names."""
    root = (state.home / "data" / "chest_xray").resolve()
    mine = state.home / "cache" / f"files-{hashlib.sha256(str(root).encode()).hexdigest()[:20]}.json"
    of_data, of_other = sorted(
        state.home.glob("cache/files-*.json"), key=lambda path: path.stat().st_mtime_ns
    )
    return of_data.rename(mine), of_other


ADOPT = ("--adopt", "results/corrupted")
KINDS = {
    "cell of an attack": Kind("done", cell_files("pgd")),
    "cell of a training": Kind("done", cell_files("train")),
    "cell of the data": Kind("done", cell_files("data")),
    "weights of a model that is attacked": Kind("lost", files("runs/*/models/*/best.safetensors")),
    "checkpoint of a training": Kind("stopped", files("runs/*/models/*/checkpoint.safetensors")),
    "best weights so far": Kind("stopped", files("runs/*/models/*/best.safetensors")),
    "history of a training": Kind("stopped", files("runs/*/models/*/metrics.jsonl")),
    "batches of a stopped attack": Kind("unfinished", files("runs/*/unfinished/*.json")),
    "prepared images": Kind("done", files("cache/chest_xray-*.npy")),
    "what is known of them": Kind("done", files("cache/chest_xray-*.json")),
    "memory of image files": Kind("done", memory),
    "records of a run": Kind("done", exported("records")),
    "provenance of a run": Kind("done", exported("provenance")),
    "published records": Kind("published", published("records"), ADOPT, load_report),
    "published provenance": Kind("published", published("provenance"), ADOPT, load_report),
}


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, State]:
    """Name -> what was left by a run that was done, lost cells, was stopped in training or between batches."""
    torch.set_num_threads(1)
    monkeypatch.setattr(cells, "build_model", small_model)
    monkeypatch.setattr("meddef.evaluation.estimate.seconds_per_pass", lambda *given: 1e-3)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setenv("MEDDEF_CACHE_DIR", "")
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "states"

    def begin(name: str, start: State | None = None) -> State:
        state = start.copy(home / name) if start else State(home / name)
        monkeypatch.setenv("MEDDEF_CACHE_DIR", str(state.home / "cache"))
        return state

    done = begin("done")
    make_chest(done.home / "data")
    (done.home / "profile.yaml").write_text(PROFILE)
    for size in (32, 40):
        load_splits(
            "chest_xray",
            image_size=size,
            split_policy="released",
            preprocessing=Preprocessing(),  # as the profile says, so that there is one pool of its size
            data_dir=done.home / "data",
            progress=False,
        )
    shutil.copytree(done.home / "data", done.home / "other data")
    load_splits("chest_xray", split_policy="released", data_dir=done.home / "other data", progress=False)
    with monkeypatch.context() as patch:
        dying(patch, trainer, "save_checkpoint", on=(2, 4))
        stopped = begin("stopped", done)
        with pytest.raises(SystemExit, match="1"):
            stopped.reproduce()
    begin("done")
    with pytest.raises(SystemExit, match="0"):
        done.reproduce()
    lost = begin("lost", done)
    for path in lost.run.glob("cells/*.json"):
        if '"attack": "fgsm"' in path.read_text():
            path.unlink()
    left = begin("unfinished", done)
    for path in left.run.glob("cells/*.json"):
        if '"attack": "pgd"' in path.read_text():
            path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "EVERY_SECONDS", 0.0)
        dying(patch, cells, "evaluate", on=(4, 8), before=True)
        with pytest.raises(SystemExit, match="1"):
            left.reproduce()
    public = begin("published", done)
    (public.home / "results").mkdir()
    public.run.rename(public.home / "results" / "corrupted")
    other = RecordStore(public.home / "results" / "other")
    other.adopt(public.home / "results" / "corrupted")
    other.export(other.keys()[::2])
    for state in (done, lost, stopped, left):
        shutil.copytree(public.home / "results", state.home / "results")
    return {"done": done, "lost": lost, "stopped": stopped, "unfinished": left, "published": public}


def dying(
    patch: pytest.MonkeyPatch, module: Any, name: str, *, on: tuple[int, ...], before: bool = False
) -> None:
    """Let the calls of a function with these numbers raise, before or after they did their work."""
    function, calls = getattr(module, name), []

    def call(*given: Any, **named: Any) -> Any:
        calls.append(1)
        answer = None if before and len(calls) in on else function(*given, **named)
        if len(calls) in on:
            raise RuntimeError("planted")
        return answer

    patch.setattr(module, name, call)


def outcome(
    kind: Kind,
    state: State,
    corrupt: Callable[[Path, Path], object],
    expected: bytes,
    said: Callable[[], str],
) -> str:
    """What the next command makes of a corrupted file: one of the three, or what is wrong, in words."""
    path, sibling = kind.find(state)
    corrupt(path, sibling)
    words = [str(state.home / word) if "/" in word else word for word in kind.words]
    before = ""
    if kind.check is None:
        status, before = run(lambda: state.command("status"), said)
        if wrong := judged(status, before, path):
            return f"status: {wrong}"
    code, told = run(lambda: state.reproduce(*words), said)
    if wrong := judged(code, told, path):
        return wrong
    records = state.run / "records.jsonl"
    if kind.check is not None:
        try:
            kind.check(state)
            assert code == 0, "the command refuses, and the book does not"
        except InputError:
            assert code == 2, "the book refuses, and the command does not"
    if code:
        if not kind.words:
            for each in (path, sibling):
                remove(each)
            again, told = run(lambda: state.reproduce(), said)
            if again or records.read_bytes() != expected:
                return f"never left: {told}"
        return REFUSED
    if records.read_bytes() != expected:
        return "silent"
    again, more = run(lambda: state.reproduce(*words), said)
    if again or more:
        return f"not left: {more}"
    return AGAIN if before or told else NO_HARM


def run(command: Callable[[], object], said: Callable[[], str]) -> tuple[int, str]:
    try:
        command()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, said()


def judged(code: int, told: str, path: Path) -> str | None:
    """What is wrong with how a command ended, in words."""
    if "Traceback" in told or "--debug shows" in told or "please report it" in told:
        return f"traceback: {told}"
    if code and path.name not in told and path.parent.name not in told:
        return f"unnamed: {told}"
    return None


@pytest.mark.fault(
    "each kind of file that is read again is cut, emptied, changed in a bit or a digit, exchanged, missing or a folder",
    "the table below: nothing is wrong without a word, nothing ends in a traceback, every state can be left",
)
def test_every_corruption_is_mended_or_refused(
    states: dict[str, State],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said() -> str:
        """Warnings that were logged and lines on stderr, without bars."""
        lines = [
            record.getMessage() for record in caplog.records if "repeat another" not in record.getMessage()
        ]
        lines += [line for line in capsys.readouterr().err.splitlines() if line.startswith(("meddef:", "  "))]
        caplog.clear()
        return "\n".join(lines)

    expected = (states["done"].run / "records.jsonl").read_bytes()
    found: dict[str, dict[str, str]] = {}
    said()
    for name, kind in KINDS.items():
        for corruption, corrupt in CORRUPTIONS.items():
            state = states[kind.state].copy(tmp_path / "work")
            monkeypatch.setenv("MEDDEF_CACHE_DIR", str(state.home / "cache"))
            found.setdefault(name, {})[corruption] = outcome(kind, state, corrupt, expected, said)
    table = expected_outcomes()
    assert found.keys() | {NOTEBOOK} == table.keys()
    assert found == {name: table[name] for name in found}


def expected_outcomes() -> dict[str, dict[str, str]]:
    """Kind of file -> corruption -> outcome."""
    rows: dict[str, dict[str, str]] = pd.read_csv(TABLE, index_col=0).to_dict("index")  # type: ignore[assignment]
    return rows


def test_a_corrupted_notebook_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but what a kernel would do, which is not done again."""
    root = tmp_path / "book of one"
    root.mkdir()
    (root / "_config.yml").touch()
    executed = nbformat.read(make_notebook(root / "notebooks" / "01_data.ipynb", "print(1)"), 4)
    write_run(root / "results", "smoke", [data_record("phantom_oct")])
    done: list[notebooks.Job] = []

    def run_all(todo: list[notebooks.Job], jobs: int) -> None:
        done.extend(todo)
        for job in todo:
            notebooks.seal(executed, job.key)
            write_text(job.output, nbformat.writes(executed))

    def run_one() -> None:
        done.clear()
        notebooks.run_notebooks({"smoke": root / "results"}, root=root, sections={"smoke": ["data"]})

    monkeypatch.setattr(notebooks, "_run_all", run_all)
    run_one()
    output, key, found = done[0].output, done[0].key, {}
    whole = output.read_text()
    for name, corrupt in CORRUPTIONS.items():
        output.write_text(whole)
        (tmp_path / "sibling.ipynb").write_text(whole.replace(key, "another key"))
        corrupt(output, tmp_path / "sibling.ipynb")
        try:
            run_one()
            assert output.read_text() == whole
            found[name] = AGAIN if done else NO_HARM
        except InputError as error:
            found[name] = REFUSED if str(output) in str(error) else f"unnamed: {error}"
            remove(output)
    assert found == expected_outcomes()[NOTEBOOK]
