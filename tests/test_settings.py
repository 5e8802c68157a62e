"""Profiles: those that come along are valid, and every fault is named."""

from pathlib import Path

import pytest

from meddef.errors import InputError
from meddef.settings import load_profile, profile_names


@pytest.mark.parametrize("name", ["cpu", "cpu_oct", "cpu_patient", "gpu", "paper", "rivals", "smoke"])
def test_bundled_profiles_load(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    every = ["resnet18", "no_afd_mfe_msf", "no_afd_mfe", "no_afd", "full"]
    added = ["plain_capacity", "attention_only", "afd_only", "mfe_only"]
    others = {"cpu_patient": ["resnet18", "full"], "cpu": [*every, *added], "rivals": ["resnet18", "cbam"]}
    assert profile.variants == others.get(name, every)
    trained = dict(profile.models()[: len(profile.variants)])
    assert trained["resnet18"].adversarial is None
    assert name == "rivals" or trained["full"].adversarial is not None


def test_controls_are_trained_the_other_way() -> None:
    profile = load_profile("smoke").model_copy(update={"controls": ["full", "resnet18"]})
    (full, clean), (resnet18, adversarial) = profile.models()[-2:]
    assert (full, clean.adversarial) == ("full", None)
    assert resnet18 == "resnet18"
    assert adversarial == profile.training


def test_the_paper_profile_is_the_paper_s_protocol() -> None:
    profile = load_profile("paper")
    training = profile.training
    assert (profile.image_size, training.epochs, training.batch_size) == (224, 100, 32)
    assert (training.learning_rate, training.weight_decay, training.dropout) == (1e-4, 1e-4, 0.3)
    assert training.adversarial is not None
    assert (training.adversarial.train_share, training.adversarial.validation_share) == (0.35, 0.70)
    assert training.adversarial.steps == 40
    assert training.augmentation == []  # no technique is named
    assert profile.grids["epsilon"].eps == [0.01, 0.05, 0.10]
    assert profile.grids["pruning"].rates == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


MINIMAL = """
name: x
description: x
image_size: 64
datasets: [{name: phantom_oct}]
variants: [full]
training: {}
grids: {}
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour: blue", "colour: Extra inputs are not permitted"),
        ("image_size: 16", "image_size: Input should be greater than or equal to 28"),
        ("training: {epoch: 3}", "training.epoch: Extra inputs"),
        ("training: {adversarial: {share: 1}}", "training.adversarial.share: Extra inputs"),
        ("grids: {e: {attacks: {}, eps: [1.5]}}", "grids.e.eps.0: Input should be less than or equal to 1"),
        (
            "grids: {e: {attacks: {}, eps: [-0.1]}}",
            "grids.e.eps.0: Input should be greater than or equal to 0",
        ),
        ("grids: {e: {attacks: {}, rates: [1.0]}}", "grids.e.rates.0: Input should be less than 1"),
        (
            "training: {augmentation: [rotate]}",
            "training.augmentation.0: Input should be 'horizontal_flip', 'translate'",
        ),
        ("training: {augmentation: horizontal_flip}", "training.augmentation: Input should be a valid list"),
        (
            "training: {augmentation: [translate, translate]}",
            "names a technique twice: translate, translate",
        ),
        ("training: {horizontal_flip: true}", "training.horizontal_flip: Extra inputs"),
        ("probes: {bands: {factors: []}}", "probes.bands.factors: List should have at least 1 item"),
        ("probes: {components: {eps: 0}}", "probes.components.eps: Input should be greater than 0"),
        ("probes: {colours: {}}", "probes.colours: Extra inputs"),
        ("datasets: [{name: a, folder: b}]", "datasets.0.folder: Extra inputs"),
        (
            "datasets: [{name: phantom_oct, split_seed: 1}, {name: phantom_oct, split_seed: 2}]",
            "datasets: 'phantom_oct' is named twice: write a profile for each of its settings",
        ),
        ("grids: {test: {attacks: {}}}", "grids: a grid cannot be called 'test', which is built in"),
        ("name: ../elsewhere", "name: '../elsewhere' cannot name a folder of records"),
        ("name: /tmp/elsewhere", "name: '/tmp/elsewhere' cannot name a folder of records"),
        ("name: ..", "name: '..' cannot name a folder of records"),
    ],
)
def test_faults_are_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    key = change.split(":")[0]
    kept = [line for line in MINIMAL.splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*kept, change]))
    with pytest.raises(InputError) as failure:
        load_profile(str(path))
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


def test_unknown_profiles_are_named(tmp_path: Path) -> None:
    assert profile_names() == ["cpu", "cpu_oct", "cpu_patient", "gpu", "paper", "rivals", "smoke"]
    with pytest.raises(
        InputError,
        match="unknown profile 'smok': use one of cpu, cpu_oct, cpu_patient, gpu, paper, rivals, smoke",
    ):
        load_profile("smok")
    with pytest.raises(InputError, match="does not exist"):
        load_profile(str(tmp_path / "none.yaml"))
    (tmp_path / "broken.yaml").write_text("name: [")
    with pytest.raises(InputError, match="is not YAML"):
        load_profile(str(tmp_path / "broken.yaml"))
    (tmp_path / "latin.yaml").write_bytes(MINIMAL.encode() + b"# \xe9")
    with pytest.raises(InputError, match=r"latin.yaml' is no text in UTF-8"):
        load_profile(str(tmp_path / "latin.yaml"))


def test_a_grid_may_be_of_some_variants() -> None:
    grid = load_profile("cpu").grids["pruning"]
    assert grid.covers("full", 2)
    assert not grid.covers("plain_capacity", 2)
    assert not grid.model_copy(update={"seeds": [0]}).covers("full", 2)
