"""Settings that people write: numbers as they meant them, every key once."""

import math

import pytest

from meddef.errors import InputError
from meddef.settings import load_profile
from meddef.yaml_reader import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01), ("1E2", 100.0), ("5e-2", 0.05), ("-1.5e+1", -15.0), (".5", 0.5), ("3.", 3.0),
        ("8/255", 8 / 255), ("-1/2", -0.5), ("010", 10), ("12", 12), ("true", True), ("False", False), ("null", None),
        ("~", None), ("", None), ("NO", "NO"), ("yes", "yes"), ("on", "on"), ("1:30", "1:30"), ("0x10", "0x10"),
        ("1_000", "1_000"), ("2020-01-01", "2020-01-01"), (".inf", math.inf),
        ("1e", "1e"), ("8/x", "8/x"), ("'8/255'", "8/255"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    found = read_yaml(text, "a text")
    assert found == value
    assert type(found) is type(value)


def test_merge_keys_and_lists_still_work() -> None:
    text = "a: &a {x: 1, y: [2, 3e0]}\nb:\n  <<: *a\n  z: NO\n"
    assert read_yaml(text, "a text")["b"] == {"x": 1, "y": [2, 3.0], "z": "NO"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a text, line 3: 'a' is given twice: keep one"),
        ("? [a]\n: 1", "a text, line 1: a list or a mapping cannot be a key"),
        ("x:\n  grid: 1\n  grid: 2", "a text, line 3: 'grid' is given twice"),
        ("a: [1", "a text is not YAML: while parsing a flow sequence"),
        ("1/0", "1/0 divides by zero"),
        ("a: 1e400", "1e400 is too large for a number"),
        ("!!python/object:os.system x", "is not YAML: could not determine a constructor"),
    ],
)
def test_faults_are_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(text, "a text")
    assert "\n" not in str(caught.value)


def test_a_profile_takes_fractions_and_exponents_and_no_key_twice(tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = (
        "name: mine\ndescription: d\nimage_size: 64\ndatasets: [{name: phantom_xray}]\nvariants: [resnet18]\n"
        "training: {epochs: 1, batch_size: 8, learning_rate: 1e-3}\n"
        "grids: {epsilon: {eps: [4/255, 1e-2], attacks: {fgsm: {}}}}\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_profile(str(path)).grids["epsilon"].eps == [4 / 255, 0.01]
    path.write_text(text + "seeds: [0]\nseeds: [1]\n")
    with pytest.raises(InputError, match="line 9: 'seeds' is given twice"):
        load_profile(str(path))
