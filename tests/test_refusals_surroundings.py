"""Refusals that come from the surroundings: folders, data, extras, downloads, clusters."""

import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import meddef.data.cache as cache
import meddef.models.backbone as backbone
from meddef import cli
from meddef.attacks import pgd
from meddef.book.build import build_book
from meddef.commands.run import given_data_dir
from meddef.data import CARDS
from meddef.data.splits import _assign, _splits
from meddef.errors import InputError
from meddef.evaluation.executor import make_executor
from meddef.models import build_model
from meddef.saliency import grad_cam


def test_a_book_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no records in results/: run 'meddef reproduce' first"):
        build_book({})


def test_a_cache_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"cannot write to the cache folder .*set MEDDEF_CACHE_DIR"):
        cache.find_cache_dir(tmp_path)


def test_a_cache_that_does_not_read_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_load", lambda *given: None)
    index = SimpleNamespace(model_dump=lambda mode: {})
    with pytest.raises(InputError, match="cannot be read back: is the disk full"):
        cache.cached_pool(tmp_path, "p", "k" * 20, lambda path: index)  # type: ignore[arg-type, return-value]


def test_splits_without_images_are_refused() -> None:
    card, where = CARDS["chest_xray"], np.array(["train", "train", "val", "test"])
    index = SimpleNamespace(labels=[0, 1], splits=["train", "train"])
    with pytest.raises(InputError, match="leaves val, test empty"):
        _assign(card, index, "released", 0, ("train", "val", "test"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="every training image duplicates one of val or test"):
        _splits(card, None, where, [0, 1], {}, None, ("train",))  # type: ignore[arg-type]


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**arguments: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(backbone, "resnet18", offline)
    with pytest.raises(InputError, match=r"could not be downloaded .*no network.*pretrained=False"):
        build_model("resnet18", 2, pretrained=True)


@pytest.mark.parametrize("module", ["pytorch_grad_cam", "distributed"])
def test_a_missing_extra_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "distributed":
        with (
            pytest.raises(InputError, match=r"needs the extra 'cluster'"),
            make_executor(1, "tcp://127.0.0.1:9"),
        ):
            pass
    else:
        with pytest.raises(InputError, match=r"meddef\[saliency\]"):
            grad_cam(build_model("resnet18", 2), torch.rand(1, 3, 32, 32), layer="layer3")


@pytest.mark.filterwarnings("ignore")  # Dask's own, at shutdown
@pytest.mark.parametrize(
    ("workers", "threads", "message"), [(0, 1, "has no worker"), (1, 2, "start it with --nthreads 1")]
)
def test_a_cluster_that_cannot_do_the_work_is_refused(workers: int, threads: int, message: str) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=False,
            dashboard_address=None,
            protocol="tcp",
            host="127.0.0.1",
        ) as cluster,
        pytest.raises(InputError, match=message),
        make_executor(1, cluster.scheduler_address),
    ):
        pass  # fmt: skip


class SharedConvolution(nn.Module):
    """Folding BatchNorm into the convolution changes its second use."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(self.norm(self.convolution(x))).mean((2, 3))


class Noisy(nn.Module):
    """Other logits in every call; a traced copy keeps the noise of its first."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x).mean((2, 3)) + torch.randn(2)


def test_a_fast_copy_that_differs_is_refused_and_shared_weights_are_no_difference() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    settings = {"eps": 0.1, "step_size": 0.2, "steps": 1}
    with pytest.raises(InputError, match="changes this model's logits"):
        pgd(Noisy(nn.Conv2d(3, 2, 8)), images, labels, fast=True, **settings)
    model = SharedConvolution().eval()
    fast, plain = (pgd(model, images, labels, fast=fast, **settings) for fast in (True, False))
    torch.testing.assert_close(fast, plain)


@pytest.mark.fault(
    "`reproduce` where its report cannot be built: installed without the notebooks, or without what builds a book",
    "it is refused before anything is computed; with --no-report it runs",
    says="--no-report",
)
@pytest.mark.parametrize("lacks", ["clone", "extra"])
def test_a_report_that_cannot_be_built_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lacks: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if lacks == "clone":
        monkeypatch.setattr("meddef.sections.__file__", str(tmp_path / "site" / "meddef" / "sections.py"))
    else:
        monkeypatch.setattr("meddef.commands.run.find_root", lambda: tmp_path)
        monkeypatch.setattr("meddef.commands.run.find_spec", lambda name: None)
    asked: list[object] = []

    def planned(settings: object, options: object) -> None:
        asked.append(options)
        raise InputError("planned")

    monkeypatch.setattr("meddef.evaluation.plan.make_plan", planned)
    monkeypatch.setenv("MEDDEF_DATA_DIR", "data")
    for extra in ([], ["--only", "data"]):
        monkeypatch.setattr(sys, "argv", ["meddef", "reproduce", *extra])
        with pytest.raises(SystemExit, match="2"):
            cli.main()
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1
    assert asked == []
    assert list(tmp_path.iterdir()) == []
    for allowed in ("--no-report", "--dry-run", "--trial"):
        monkeypatch.setattr(sys, "argv", ["meddef", "reproduce", allowed])
        with pytest.raises(SystemExit, match="2"):
            cli.main()
        assert capsys.readouterr().err == "meddef: planned\n"
    assert [options.data_dir for options in asked] == 3 * [tmp_path / "data"]  # type: ignore[attr-defined]


def test_a_folder_of_data_is_absolute_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a cluster has a working directory and variables of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("MEDDEF_DATA_DIR", "data")
    assert given_data_dir(Path("images")) == tmp_path / "images"
    assert given_data_dir(None) == tmp_path / "data"
    monkeypatch.delenv("MEDDEF_DATA_DIR")
    assert given_data_dir(None) is None
