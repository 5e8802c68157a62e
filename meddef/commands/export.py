"""``meddef export``: saved weights as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meddef.commands.judged import ImageSize, OwnModel, Variant, Weights
from meddef.commands.own import Channels


def export(
    weights: Weights,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The file: .onnx (ONNX), .pt2 (torch.export) or .pt (TorchScript)."
        ),
    ],
    variant: Variant = None,
    model: OwnModel = None,
    image_size: ImageSize = None,
    channels: Channels = None,
) -> None:
    """Write a model as ONNX, torch.export or TorchScript, and compare what the file answers with the model.

    The file takes images (N, C, H, W) in [0, 1], any number at a time, and returns logits: standardisation is inside,
    what turns a picture into such an image is not. A file whose logits differ by more than rounding is not written.
    Examples:

        meddef export -w full.safetensors -o full.onnx

        meddef export -w mine.safetensors --model my_models:small_net --image-size 224 -o mine.pt2
    """
    from meddef.errors import InputError
    from meddef.evaluation.saved_model import saved_model
    from meddef.export import FORMATS
    from meddef.export import export as write
    from meddef.image_size import parse_size

    if output.suffix.lower() not in FORMATS or output.is_dir():
        raise InputError(f"--output '{output}' is not the name of a {', '.join(FORMATS)} file")
    if channels not in (None, 1, 3):
        raise InputError(f"--channels {channels} is neither 1 nor 3")
    size = None if image_size is None else parse_size(image_size)
    saved = saved_model(weights, variant=variant, model=model, image_size=size, channels=channels)
    about = {
        "model": saved.name,
        "classes": list(saved.classes),
        "images": "(N, C, H, W), float32 in [0, 1]",
        "channels": saved.channels,
        "image_size": saved.image_size,
        "header": saved.header,
    }
    done = write(saved.net, output, saved.shape, about=about)
    shape = ", ".join(map(str, saved.shape))
    classes = f" of {', '.join(saved.classes)}" if saved.classes else ""
    typer.echo(
        f"{output}: {done.format} of {saved.name}; images (N, {shape}) in [0, 1] to logits{classes}, for any N"
    )
    typer.echo(
        f"compared with the model on {done.compared} images of noise: logits differ by {done.difference:.1e} at most, "
        f"of {done.largest:.3g}"
    )
