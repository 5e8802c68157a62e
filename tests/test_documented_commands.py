"""Every ``meddef`` command that README, how-to, course pages and ``--help`` show is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from meddef.attacks import ATTACKS
from meddef.book.notebooks import SECTIONS, check_parameters
from meddef.cli import app
from meddef.data import CARDS
from meddef.evaluation.plan import SECTIONS as PLANNED
from meddef.models import KNOWN_VARIANTS
from meddef.settings import profile_names
from meddef.yaml_reader import read_yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("book/*.md")), *sorted(ROOT.glob("book/course/*.md"))]
FENCE = re.compile(r"^[ ]*```(?:bash|console|sh)\n(.*?)^[ ]*```", re.S | re.M)
INLINE = re.compile(r"`(meddef [^`]+)`")
OWN_NAMES = {
    "profile": {"mine.yaml", "skin.yaml", "NAME"},
    "dataset": {"skin", "NAME"},
    "attack": {"mine", "NAME", "my_attacks:mine", "my_attacks:brighter"},
    "only": {"mine"},
}
KNOWN = {
    "profile": set(profile_names()),
    "dataset": set(CARDS),
    "attack": set(ATTACKS),
    "variant": set(KNOWN_VARIANTS),
    "only": set(PLANNED),
    "section": set(SECTIONS),
}
PROGRAM: Any = typer.main.get_command(app)
USAGE_ERROR = typer.BadParameter.__bases__[0]


def commands_of(text: str) -> Iterator[list[str]]:
    """The arguments of every call of meddef in a page, without comments, through whatever starts it."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line for block in FENCE.findall(joined) for line in block.splitlines()]
    lines += [" ".join(inline.split()) for inline in INLINE.findall(joined)]
    for line in lines:
        if "meddef" not in line:
            continue
        words = shlex.split(line, comments=True)
        names = [i for i, word in enumerate(words) if Path(word).name == "meddef"]
        if names and words[0] not in ("git", "pip", "cd"):
            yield words[names[0] + 1 :]


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from leaves(below, (*path, name))
    else:
        yield path, command


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command's name and its parameters; a ``UsageError`` where it is none."""
    command, name = PROGRAM, "meddef"
    context = command.make_context(name, list(arguments))
    while isinstance(command, TyperGroup):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(rest), parent=context)
    return str(name), context.params


def documented() -> list[tuple[str, list[str]]]:
    found = [
        (page.name, command) for page in PAGES for command in commands_of(page.read_text(encoding="utf-8"))
    ]
    for path, command in leaves(PROGRAM):
        examples = re.findall(r"^\s*meddef .*$", command.help or "", re.M)
        found += [
            (f"{' '.join(path)} --help", shlex.split(example, comments=True)[1:]) for example in examples
        ]
    return [(where, command) for where, command in found if command]


@pytest.mark.parametrize(
    ("where", "arguments"),
    documented(),
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_documented_command_is_one(where: str, arguments: list[str]) -> None:
    if len(arguments) == 1 and arguments[0] in {"course", "data"}:
        return  # the group is named
    try:
        name, parameters = parsed(arguments)
    except USAGE_ERROR as error:
        if where.endswith(".md") and type(error).__name__ == "MissingParameter":
            return  # a sentence that names the command
        raise
    for parameter, known in KNOWN.items():
        given = parameters.get(parameter)
        for value in [given] if isinstance(given, str) else given or []:
            assert value in known | OWN_NAMES.get(parameter, set()), f"{where}: --{parameter} {value}"
    if name == "book":
        settings = {
            text.split("=")[0]: read_yaml(text.split("=")[1], text) for text in parameters["parameter"] or []
        }
        assert all(isinstance(value, float) for value in settings.values())
        for section in parameters["section"] or SECTIONS:
            check_parameters(ROOT / "notebooks" / f"{SECTIONS[section]}.ipynb", settings)


def test_what_is_no_command_is_noticed() -> None:
    with pytest.raises(USAGE_ERROR, match="No such option: --variants"):
        parsed(["train", "--variants", "full"])
    with pytest.raises(USAGE_ERROR, match="No such command 'trian'"):
        parsed(["trian"])
    assert len(documented()) > 40
