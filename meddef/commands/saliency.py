"""``meddef saliency``: where a model looks in one's own pictures, and what an attack does to that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.atomic import replacing
from meddef.commands.attacks import parse_eps, parse_settings
from meddef.commands.judged import ImageSize, OwnModel, Variant, Weights
from meddef.commands.own import Channels, Window
from meddef.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from meddef.data.images import ImageSet
    from meddef.evaluation.saved_model import SavedModel
    from meddef.figures.overlay import Picture


def saliency(
    weights: Weights,
    image: Annotated[
        list[Path],
        typer.Option("--image", help="A picture, in any format that --data takes; may be repeated."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write: .png, .pdf or .svg.")],
    variant: Variant = None,
    model: OwnModel = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            help="Whose maps: layer1 to layer4 of a ResNet or MedDef, or the path of any layer, such as features.12. "
            "Default: layer3, else the last convolution with maps of at least 4 x 4.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The class to explain. Default: the most likely one.")
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(
            "--attack", help="Also show this attack on the most likely class, see 'meddef attacks'."
        ),
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Its budget: 0.05 or 8/255. Default: the paper's.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the attack, name=value; may be repeated.")
    ] = None,
    window: Window = None,
    image_size: ImageSize = None,
    channels: Channels = None,
) -> None:
    """Draw Grad-CAM (Selvaraju et al. 2017) of a model over pictures, before and after an attack.

    Pictures are prepared as the weights' images were, else brought to size on black. Beside the overlay stands what the
    attack added, magnified, and the map afterwards. Examples:

        meddef saliency -w full.safetensors --image x.png -o overlay.png

        meddef saliency -w mine.safetensors --model my_models:small_net --image x.png -o overlay.pdf
        --layer features.12 --attack pgd --eps 8/255
    """
    from meddef.commands.output import PICTURES
    from meddef.evaluation.saved_model import saved_model
    from meddef.evaluation.single import bind_attack, class_named
    from meddef.figures.overlay import saliency_overlay
    from meddef.image_size import parse_size
    from meddef.saliency import default_layer

    if output.suffix.lower() not in PICTURES or output.is_dir():
        raise InputError(f"--output '{output}' is not the name of a {', '.join(PICTURES)} file")
    if channels not in (None, 1, 3):
        raise InputError(f"--channels {channels} is neither 1 nor 3")
    if attack is None and (eps is not None or given):
        raise InputError("--eps and --set are for --attack: give it too")
    bound = None
    if attack is not None:
        bound = bind_attack(attack, None if eps is None else parse_eps(eps), parse_settings(given or []))
    size = None if image_size is None else parse_size(image_size)
    saved = saved_model(weights, variant=variant, model=model, image_size=size, channels=channels)
    images, told = read_pictures(image, saved, window)
    chosen, why = (layer, "") if layer is not None else default_layer(saved.net, images.batch([0])[0])
    of = None if target is None else class_named(target, saved.classes or _numbers(saved, images), "--target")
    for line in told:
        typer.echo(line)
    typer.echo(f"layer: {chosen}{f' ({why}; --layer takes another)' if why else ''}")
    found = [_looked(saved, images, row, chosen, of, bound) for row in range(len(images))]
    for one in found:
        for line in one.lines:
            typer.echo(line)
    strength = "" if attack is None else f", before and after {attack}"
    figure = saliency_overlay([one.picture for one in found], f"{saved.name}, Grad-CAM of {chosen}{strength}")
    with replacing(output) as temporary:
        figure.savefig(temporary, format=output.suffix[1:].lower(), dpi=200)
    typer.echo(f"written: {output}")


def read_pictures(
    paths: list[Path], saved: SavedModel, window: tuple[float, float] | None
) -> tuple[ImageSet, list[str]]:
    """The pictures as the model gets them, and how they were read in words.

    Raises:
        InputError: one that cannot be read.
    """
    import numpy as np

    from meddef.data.decode import quiet_decoding, read_image
    from meddef.data.images import ImageSet
    from meddef.data.source import UnreadableImage

    prepared, told = [], []
    with quiet_decoding():
        for path in paths:
            said: list[str] = []
            try:
                pixels = read_image(path, window, said, colour=saved.colour)
            except UnreadableImage as error:
                raise InputError(f"--image {path} cannot be used: {error}") from error
            if saved.colour and pixels.ndim == 2:
                pixels = np.repeat(pixels[..., None], 3, axis=2)
            prepared.append(saved.preprocessing.apply(pixels, saved.image_size))
            told += [f"{path}: {line}" for line in said]
    names = [path.name for path in paths]
    images = ImageSet.from_arrays(np.stack(prepared), [0] * len(paths), names=names, channels=saved.channels)
    return images, told


@dataclass(frozen=True)
class _Looked:
    picture: Picture
    lines: list[str]


def _looked(
    saved: SavedModel, images: ImageSet, row: int, layer: str, target: int | None, attack: Any
) -> _Looked:
    """One picture with its map, and the same after the attack on its most likely class."""
    import torch

    from meddef.attacks.contract import check_output
    from meddef.figures.overlay import Picture
    from meddef.saliency import grad_cam, rank_correlation, top_overlap

    x, _ = images.batch([row])
    likely = check_output(saved.net(x), 1).argmax(1)
    of = int(likely) if target is None else target
    heat = grad_cam(saved.net, x, layer=layer, targets=of)[0]
    name, said = images.names[row], _answer(saved, x)
    lines = [f"{name}: {said}; map of {_class(saved, of)}"]
    if attack is None:
        return _Looked(Picture(name, _pixels(x)[0], heat, said), lines)
    moved = attack(saved.net, x, likely)
    after, answer = grad_cam(saved.net, moved, layer=layer, targets=of)[0], _answer(saved, moved)
    lines.append(
        f"{name}, attacked: {answer}; largest change of a pixel {float((moved - x).abs().max()):.4f}; the maps' rank "
        f"correlation {rank_correlation(heat, after):.2f}, overlap of their top fifth {top_overlap(heat, after):.2f}"
    )
    image, attacked = _pixels(torch.cat([x, moved]))
    return _Looked(Picture(name, image, heat, said, attacked, after, answer), lines)


def _answer(saved: SavedModel, x: Tensor) -> str:
    """ "PNEUMONIA 93.1%"."""
    import torch

    with torch.no_grad():
        chances = saved.net(x).float().softmax(1)[0]
    likely = int(chances.argmax())
    return f"{_class(saved, likely)} {float(chances[likely]):.1%}"


def _class(saved: SavedModel, label: int) -> str:
    return saved.classes[label] if label < len(saved.classes) else f"class {label}"


def _numbers(saved: SavedModel, images: ImageSet) -> list[str]:
    """Names of classes that the weights do not name."""
    return [str(label) for label in range(saved.net(images.batch([0])[0]).shape[1])]


def _pixels(x: Tensor) -> Any:
    """(N, C, H, W) as (N, H, W), or (N, H, W, 3) where the channels of any differ."""
    pixels = x.detach().permute(0, 2, 3, 1).numpy()
    same = pixels.shape[3] == 1 or bool((pixels == pixels[..., :1]).all())
    return pixels[..., 0] if same else pixels
