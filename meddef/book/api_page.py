"""The API reference, from the docstrings: griffe reads the source, so nothing is imported and torch is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import griffe

MODULES = (
    # the public API, in the order of the page
    "meddef.models",
    "meddef.attacks",
    "meddef.defenses",
    "meddef.evaluation",
    "meddef.training",
    "meddef.pruning",
    "meddef.sparse",
    "meddef.saliency",
    "meddef.robustness",
    "meddef.audit",
    "meddef.data",
    "meddef.settings",
    "meddef.records",
    "meddef.statistics",
    "meddef.paper",
    "meddef.errors",
)
WIDTH = 88
_FIELDS = {
    griffe.DocstringSectionKind.parameters: "Arguments",
    griffe.DocstringSectionKind.attributes: "Attributes",
    griffe.DocstringSectionKind.raises: "Raises",
}


def api_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: one heading per module, below it one per function or class."""
    here = root if (root / "meddef").is_dir() else Path(__file__).parents[2]
    package = griffe.load(
        "meddef",
        search_paths=[here],
        docstring_parser="google",
        docstring_options={"warnings": False, "returns_named_value": False, "returns_multiple_items": False},
        submodules=True,
    )
    return {"api.md": "\n\n".join(_module(package[name.partition(".")[2]], name) for name in MODULES) + "\n"}


def public(module: griffe.Object | griffe.Alias) -> list[griffe.Object]:
    """The public names of a module: its ``__all__``, or the public ones that it defines itself."""
    exported = [str(name) for name in module.exports or ()]
    if exported:
        members = [module.members[name] for name in exported if name in module.members]
    else:
        members = [m for name, m in module.members.items() if not name.startswith("_") and not m.is_alias]
    found = [_behind(member) for member in members]
    return [member for member in found if member.is_function or member.is_class or exported]


def _behind(member: griffe.Object | griffe.Alias) -> griffe.Object:
    """The object of an exported name; a function with its module's name is hidden by the module."""
    found = member.final_target if isinstance(member, griffe.Alias) else member
    inner = found.members.get(found.name) if found.is_module else None
    return inner if isinstance(inner, griffe.Object) else found


def _module(module: griffe.Object | griffe.Alias, name: str) -> str:
    parts = [f"## {name}", *_text(module)]
    for member in public(module):
        parts += _object(member, name)
    return "\n\n".join(parts)


def _object(member: griffe.Object, module: str) -> Iterator[str]:
    yield f"### {member.name}"
    yield f"```python\n{_signature(member, module)}\n```"
    yield from _text(member)
    if isinstance(member, griffe.Class):
        for method in member.functions.values():
            if not method.name.startswith("_") and method.docstring:
                yield f"```python\n{member.name}.{_call(method)}\n```"
                yield from _text(method)


def _signature(member: griffe.Object, module: str) -> str:
    where = f"from {module} import {member.name}"
    if isinstance(member, griffe.Function):
        return f"{where}\n\n{_call(member)}"
    if not isinstance(member, griffe.Class):
        return where
    if isinstance(made := member.members.get("__init__"), griffe.Function):
        return f"{where}\n\n{_call(made, member.name)}"
    fields = [
        f"    {name}: {attribute.annotation}" + (f" = {attribute.value}" if attribute.value else "")
        for name, attribute in member.attributes.items()
        if attribute.annotation and "instance-attribute" in attribute.labels and not name.startswith("_")
    ]
    return "\n".join([where, "", f"class {member.name}:" if fields else f"class {member.name}", *fields])


def _call(function: griffe.Function, name: str = "") -> str:
    """``name(arguments) -> result``, one argument per line where one line is too narrow; without ``self``."""
    shown = name or function.name
    signature = function.signature(return_type=not name, name=shown)
    inner, _, result = signature.removeprefix(f"{shown}(").rpartition(") -> " if " -> " in signature else ")")
    arguments = [argument for argument in _split(inner) if argument not in ("self", "cls", "")]
    end = f") -> {result}" if result else ")"
    line = f"{shown}({', '.join(arguments)}{end}"
    if len(line) <= WIDTH:
        return line
    return f"{shown}(\n" + "".join(f"    {argument},\n" for argument in arguments) + end


def _split(arguments: str) -> list[str]:
    """Split at the commas that no bracket encloses."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _text(member: griffe.Object | griffe.Alias) -> Iterator[str]:
    """The docstring, its parts as lists."""
    if member.docstring is None:
        return
    for section in member.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield section.value
        elif section.kind is griffe.DocstringSectionKind.returns:
            yield f"*Returns*\n\n{_returned(section.value[0], member)}"
        elif title := _FIELDS.get(section.kind):
            yield f"*{title}*\n\n" + "\n".join(_item(item) for item in section.value)
        elif section.kind is griffe.DocstringSectionKind.examples:
            yield "*Examples*"
            yield from (value for _, value in section.value)


def _returned(item: griffe.DocstringReturn, member: griffe.Object | griffe.Alias) -> str:
    """The sentence about the result; what the parser took from it for a type, up to its first colon, is put back."""
    kind, declared = str(item.annotation or ""), str(getattr(member, "returns", None) or "")
    words = " ".join(item.description.split())
    return words if kind in ("", declared) else f"{kind}: {words}"


def _item(item: griffe.DocstringElement) -> str:
    name = getattr(item, "name", "") or str(item.annotation or "")
    if name.endswith(","):  # "labels, before, after: ..." comes as a name and an annotation
        name = f"{name} {str(item.annotation).strip('()')}"
    words = " ".join(item.description.split())
    return f"- `{name}`: {words}" if name else f"- {words}"
