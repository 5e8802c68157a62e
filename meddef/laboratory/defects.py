"""Each known error of an attack or its evaluation, as a named defect."""

from __future__ import annotations

from dataclasses import dataclass

GRADIENT = ("fgsm", "pgd", "bim")
COLUMNS = (*GRADIENT, "jsma")


@dataclass(frozen=True)
class Defect:
    """One defect.

    name: as in the records. columns: the attacks whose accuracy it changes. what: description. how: cause.
    """

    name: str
    columns: tuple[str, ...]
    what: str
    how: str


SOUND = Defect("sound", (), "None: attacks in pixel space on the model itself.", "")
DEFECTS = (
    Defect(
        "clamp_normalised",
        GRADIENT,
        "Attacked images are clamped to [0, 1] after standardisation.",
        "A loader that standardises, followed by an attack written for pixels: all values below the mean become the "
        "mean.",
    ),
    Defect(
        "eps_normalised",
        GRADIENT,
        "ε is applied in standardised units, which makes it smaller in pixels by the factor of the standard deviation.",
        "The same loader with a matching clamp.",
    ),
    Defect(
        "descend",
        GRADIENT,
        "The attack descends the loss instead of ascending it.",
        "A sign error: x − step · sign(g).",
    ),
    Defect(
        "train_mode",
        GRADIENT,
        "Attacks and predictions use the model in training mode.",
        "A missing model.eval(): BatchNorm uses batch statistics, dropout is on.",
    ),
    Defect(
        "transfer",
        COLUMNS,
        "Images are computed on another model.",
        "Attacked images reused from another run with another seed and without defence.",
    ),
    Defect(
        "early",
        COLUMNS,
        "Images are computed on the same model before the end of its training.",
        "Attacked images computed once, after the first epoch.",
    ),
    Defect(
        "short_reach",
        ("pgd", "bim"),
        "PGD and BIM take five steps of 0.003, which move a pixel by 0.015, however large ε is.",
        "The step size of a 40-step run, kept when the number of steps is reduced, as in this project's first edition.",
    ),
    Defect(
        "exception",
        COLUMNS,
        "An attack that raises returns the clean image.",
        "A try block around the attack that logs and continues.",
    ),
    Defect(
        "sign_steps_as_jsma",
        ("jsma",),
        "JSMA takes small sign steps on the whole image, within ε.",
        "A simplified JSMA without the saliency-map search.",
    ),
    Defect(
        "one_label",
        GRADIENT,
        "The loss is that of the smallest class for every image.",
        "Labels that are lost or mapped to one class before the attack.",
    ),
    Defect(
        "batch_average",
        COLUMNS,
        "Per-batch accuracies are averaged, with equal weight for the smaller last batch.",
        "A mean of per-batch means.",
    ),
    Defect(
        "other_images",
        COLUMNS,
        "Robust accuracy is measured on other images, here training images.",
        "The wrong loader in the attacked part of an evaluation.",
    ),
    Defect(
        "collapse",
        ("clean", *COLUMNS),
        "The model always predicts the largest class.",
        "Training that diverged, or pruning that removed essential weights.",
    ),
)
BY_NAME = {defect.name: defect for defect in (SOUND, *DEFECTS)}
