"""SVG as matplotlib writes it, made smaller without a visible change."""

from __future__ import annotations

import base64
import io
import re
from itertools import groupby
from xml.etree import ElementTree

from PIL import Image

DECIMALS = 2  # of coordinates, in points: a hundredth of 1/72 inch
SHADES = 48  # of embedded pictures of phantoms
FONTS = "'DejaVu Sans', Verdana, 'Bitstream Vera Sans', sans-serif"  # the first three are equally wide
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
_PICTURE = (HREF, "width", "height")
_COORDINATES = ("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "points", "transform")
_LONG = re.compile(rf"-?\d+\.\d{{{DECIMALS}}}\d+")
_FONT = re.compile(r"; font-family: [^;\"]*")
_COMMAND = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_OPACITY = re.compile(r"(^|;)opacity:")
_TURNED_BY_NOTHING = re.compile(r"rotate\(-?0 [^)]*\)")
_PNG = "data:image/png;base64,"

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
ElementTree.register_namespace("dc", "http://purl.org/dc/elements/1.1/")
ElementTree.register_namespace("cc", "http://creativecommons.org/ns#")
ElementTree.register_namespace("rdf", "http://www.w3.org/1999/02/22-rdf-syntax-ns#")


def compact(svg: str) -> str:
    """``svg`` with short numbers and paths, small pictures, nothing said twice, and fonts that any machine has."""
    root = ElementTree.fromstring(svg)
    used = set(re.findall(r"#([\w.-]+)", svg))
    _inherit(root)
    for node in root.iter():
        _shorten(node)
        if node.get("id") not in used:
            node.attrib.pop("id", None)
        if not (node.text or "").strip():
            node.text = None
        node.tail = None
    _define(root)
    for attribute in ("clip-path", "style"):
        _unwrap(root)
        _share(root, attribute)
    _unwrap(root)
    for node in root.iter(f"{{{SVG}}}style"):
        # A rule for every node would beat what a group hands down.
        rules = (node.text or "").replace("*{", "svg{")
        node.text = f"{rules} text{{font-family: {FONTS}}}"
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>").replace("><", ">\n<") + "\n"


def _define(root: ElementTree.Element) -> None:
    """Embed a picture that is shown more than once only once."""
    shown: dict[tuple[str | None, ...], list[ElementTree.Element]] = {}
    for image in root.iter(f"{{{SVG}}}image"):
        shown.setdefault(tuple(image.get(name) for name in _PICTURE), []).append(image)
    repeated = [images for images in shown.values() if len(images) > 1]
    if not repeated:
        return
    definitions = ElementTree.Element(f"{{{SVG}}}defs")
    for number, images in enumerate(repeated):
        name = f"picture{number}"
        alike = {key: value for key, value in images[0].items() if key in _PICTURE}
        ElementTree.SubElement(definitions, f"{{{SVG}}}image", {"id": name, **alike})
        # The style stays in each place: a group in the definitions would not hand it down.
        for image in images:
            image.tag = f"{{{SVG}}}use"
            image.attrib = {HREF: f"#{name}", **{k: v for k, v in image.items() if k not in alike}}
    root.insert(0, definitions)


def _inherit(root: ElementTree.Element) -> None:
    """Drop the style of a marker's uses where the marker itself has it."""
    styles = {f"#{node.get('id')}": node.get("style") for node in root.iter() if node.get("id")}
    for use in root.iter(f"{{{SVG}}}use"):
        if "style" in use.attrib and use.get("style") == styles.get(use.get(HREF, "")):
            del use.attrib["style"]


def _shorten(node: ElementTree.Element) -> None:
    for name in _COORDINATES:
        if name in node.attrib:
            short = _LONG.sub(_rounded, _TURNED_BY_NOTHING.sub("", node.attrib[name]))
            node.attrib[name] = " ".join(short.split())
    if "d" in node.attrib:
        node.attrib["d"] = _path(node.attrib["d"])
    if "style" in node.attrib:
        node.attrib["style"] = _FONT.sub("", node.attrib["style"]).replace(": ", ":").replace("; ", ";")
    if not node.get("transform", "?"):
        del node.attrib["transform"]
    if node.get(HREF, "").startswith(_PNG):
        node.attrib[HREF] = _PNG + _smaller(node.attrib[HREF].removeprefix(_PNG))


def _path(data: str) -> str:
    """Path data without the commands that repeat the one before; after a move, points are lines."""
    written, before = [], ""
    for command, numbers in _COMMAND.findall(data):
        written.append((" " if command == before else command) + numbers.strip())
        before = "L" if command == "M" else command
    return "".join(written)


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number[0]):.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _unwrap(node: ElementTree.Element) -> None:
    """Replace groups without attributes by what they hold, and drop those that hold nothing."""
    for child in list(node):
        _unwrap(child)
        if child.tag == f"{{{SVG}}}g" and not child.attrib:
            place = list(node).index(child)
            node[place : place + 1] = list(child)


def _share(node: ElementTree.Element, attribute: str) -> None:
    """Give the ``attribute`` that neighbours have in common to a group of them; all but opacity is inherited."""
    children = list(node)
    for child in children:
        _share(child, attribute)
        node.remove(child)
    for value, run in groupby(children, key=lambda child: child.get(attribute)):
        alike = list(run)
        if value is None or len(alike) == 1 or _OPACITY.search(value):
            node.extend(alike)
            continue
        group = ElementTree.SubElement(node, f"{{{SVG}}}g", {attribute: value})
        for child in alike:
            del child.attrib[attribute]
            group.append(child)


def _smaller(encoded: str) -> str:
    """A PNG (base64) with a palette instead of four channels."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        reduced = picture.convert("RGB").quantize(SHADES, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    reduced.save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
