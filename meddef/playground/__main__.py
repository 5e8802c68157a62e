"""``python -m meddef.playground [undefended] [defended]``: train the playground's models and export their gradients."""

from __future__ import annotations

import json
import logging
import sys
from importlib.util import find_spec

from meddef.atomic import write_text
from meddef.errors import InputError
from meddef.playground.page import NAMES, SOURCE
from meddef.sections import find_root


def main(names: list[str]) -> None:
    """Train ``names`` (none: both) and write ``<name>.onnx`` and ``<name>.json`` to ``book/playground/``."""
    for name in names:
        if name not in NAMES:
            raise InputError(f"unknown model '{name}': use {' or '.join(NAMES)}")
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise InputError(f"{package} is not installed: pip install 'meddef[playground]'")
    from meddef.playground.onnx_file import save
    from meddef.playground.training import train_model

    folder = find_root() / SOURCE
    runs = find_root() / "runs" / "playground"
    for name in names or NAMES:
        model, record = train_model(name, runs)
        save(model, folder / f"{name}.onnx")
        write_text(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
        print(f"{folder / name}.onnx")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"meddef.playground: {error}", file=sys.stderr)
        sys.exit(2)
