"""The source of an exception, in one line: the user's model, or this program."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

PACKAGE = Path(__file__).parent
EXTRAS = {
    "book": ("nbformat", "nbclient", "papermill", "jupyter_book", "ipykernel", "plotly"),
    "cluster": ("distributed",),
    "dicom": ("pydicom",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "saliency": ("pytorch_grad_cam",),
}
"""Extra of this package -> the modules that it brings, of those imported here."""
LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))


def in_a_line(error: BaseException) -> str:
    """Kind and message: "ValueError: image 28 x 28, this ViT takes 224 x 224"."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300] or 'no message'}"


def place(error: BaseException) -> str:
    """Where the user's own code raised it, " (my_models.py, line 7, in forward)"; empty if none was involved."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})" if own else ""


def whose(error: BaseException) -> str:
    """Whose code caused it, from the call stack."""
    if found := place(error):
        return f"an error in your own code{found}"
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [i for i, file in enumerate(files) if file.is_relative_to(PACKAGE)]
    if any(file.parts[-3:] == ("nn", "modules", "module.py") for file in files[ours[-1] :] if ours):
        return "an error in the model's forward pass"
    return "an error of meddef itself: please report it"


def lacking(error: BaseException) -> str:
    """The extra to install where a module of one is missing: "this needs nbformat: pip install 'meddef[book]'"; else
    empty."""
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    extra = next((extra for extra, names in EXTRAS.items() if name in names), None)
    return f"this needs {name}: pip install 'meddef[{extra}]'" if extra and not place(error) else ""


def _is_own(name: str) -> bool:
    file = Path(name)
    return file.is_file() and not any(file.is_relative_to(folder) for folder in (PACKAGE, *LIBRARIES))
