"""One reader for settings: YAML with the numbers and booleans of YAML 1.2, and fractions.

PyYAML reads YAML 1.1, in which ``1e-2`` is a string, ``NO`` is false, ``010`` is eight and ``1:30`` is ninety, and
silently drops the first of duplicate keys.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import yaml
from pydantic import ValidationError

from meddef.errors import InputError

_INT = re.compile(r"[-+]?[0-9]+")
_FRACTION = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?/[0-9]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_MERGE = "tag:yaml.org,2002:merge"
_SIGNS_AND_DIGITS = list("-+0123456789.")


class _Reader(yaml.SafeLoader):
    """``yaml.SafeLoader`` with the scalars below instead of YAML 1.1's, and every key once."""


_Reader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [(tag, shape) for tag, shape in resolvers if tag.rsplit(":", 1)[1] in ("null", "merge")])
}


def _scalar(tag: str, shape: re.Pattern[str], first: list[str], make: Any) -> None:
    _Reader.add_implicit_resolver(tag, re.compile(rf"(?:{shape.pattern})\Z"), first)
    _Reader.add_constructor(tag, lambda loader, node: make(str(node.value)))


_scalar(
    "tag:yaml.org,2002:bool",
    re.compile("true|True|TRUE|false|False|FALSE"),
    list("tTfF"),
    lambda t: t.lower() == "true",
)
_scalar("tag:yaml.org,2002:int", _INT, _SIGNS_AND_DIGITS, int)
_scalar("!fraction", _FRACTION, _SIGNS_AND_DIGITS, lambda text: _fraction(text))
_scalar(
    "tag:yaml.org,2002:float",
    _FLOAT,
    _SIGNS_AND_DIGITS,
    lambda text: _float(text),
)


def _float(text: str) -> float:
    value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if value in (float("inf"), float("-inf")) and "inf" not in text.lower():
        raise InputError(f"{text} is too large for a number")
    return value


def _fraction(text: str) -> float:
    above, below = text.split("/")
    if int(below) == 0:
        raise InputError(f"{text} divides by zero")
    return float(Fraction(above) / int(below))


def _mapping(loader: _Reader, node: yaml.MappingNode) -> dict[Any, Any]:
    own: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True) if key_node.tag != _MERGE else None
        if not isinstance(key, Hashable):
            raise InputError(f"line {key_node.start_mark.line + 1}: a list or a mapping cannot be a key")
        if key is not None and key in own:
            raise InputError(f"line {key_node.start_mark.line + 1}: '{key}' is given twice: keep one")
        own.add(key)
    loader.flatten_mapping(node)  # merged keys come first, own keys replace them
    pairs = [
        (loader.construct_object(k, deep=True), loader.construct_object(v, deep=True)) for k, v in node.value
    ]
    return dict(pairs)


_Reader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(text: str, what: str) -> Any:
    """The content of a YAML text; ``what`` names it in errors.

    >>> read_yaml("eps: [8/255, 1e-2]", "a profile")
    {'eps': [0.03137254901960784, 0.01]}

    Raises:
        InputError: not YAML, or a key twice in one mapping; one line.
    """
    try:
        return yaml.load(text, Loader=_Reader)
    except yaml.YAMLError as error:
        raise InputError(f"{what} is not YAML: {' '.join(str(error).split())}") from error
    except InputError as error:
        raise InputError(f"{what}, {error}") from error


@contextmanager
def as_input_error(place: str) -> Iterator[None]:
    """What is wrong with settings, all of it in one line that begins with ``place``."""
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{place}: {faults_of(error)}") from error


def faults_of(error: ValidationError) -> str:
    """Place and message of each fault."""
    told = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
    return "; ".join(": ".join(filter(None, each)) for each in told)
