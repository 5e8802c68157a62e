"""Each known way of getting an attack or its evaluation wrong, as a named switch."""

from __future__ import annotations

from dataclasses import dataclass

GRADIENT = ("fgsm", "pgd", "bim")
COLUMNS = (*GRADIENT, "jsma")


@dataclass(frozen=True)
class Defect:
    """One way to be wrong.

    name: as in the records. columns: the attacks whose accuracy it changes. what: what is done wrong.
    how: how it comes about.
    """

    name: str
    columns: tuple[str, ...]
    what: str
    how: str


SOUND = Defect("sound", (), "Nothing: attacks in pixel space on the model itself.", "")
DEFECTS = (
    Defect(
        "clamp_normalised",
        GRADIENT,
        "Attacked images are clamped to [0, 1] after standardisation.",
        "A loader that standardises, followed by an attack written for pixels: all below the mean becomes the mean.",
    ),
    Defect(
        "eps_normalised",
        GRADIENT,
        "ε counts in standardised units, so that it is smaller in pixels by the standard deviation.",
        "The same loader with a clamp that fits it.",
    ),
    Defect("descend", GRADIENT, "The loss is descended instead of ascended.", "A sign: x − step · sign(g)."),
    Defect(
        "train_mode",
        GRADIENT,
        "Attacks and predictions use the model in training mode.",
        "No model.eval(): BatchNorm uses the batch, dropout is on.",
    ),
    Defect(
        "transfer",
        COLUMNS,
        "Images are made on another model.",
        "Attacked images kept from another run, trained from another seed without defence.",
    ),
    Defect(
        "early",
        COLUMNS,
        "Images are made on the same model before its training ended.",
        "Attacked images computed once, after the first epoch.",
    ),
    Defect(
        "short_reach",
        ("pgd", "bim"),
        "PGD and BIM take five steps of 0.003, which move a pixel by 0.015, however large ε is.",
        "The step of a run of 40 steps, kept when the steps are cut. This project's first edition trained so.",
    ),
    Defect(
        "exception",
        COLUMNS,
        "An attack that raises returns the clean image.",
        "A try around the attack that logs and goes on.",
    ),
    Defect(
        "sign_steps_as_jsma",
        ("jsma",),
        "JSMA takes small sign steps on the whole image, within ε.",
        "A simplified JSMA that drops the saliency map's search.",
    ),
    Defect(
        "one_label",
        GRADIENT,
        "The loss is that of the smallest class, whatever the image shows.",
        "Labels that are lost or mapped to one class on the way to the attack.",
    ),
    Defect(
        "batch_average",
        COLUMNS,
        "Accuracies of batches are averaged, the last, smaller batch with the same weight.",
        "A mean of per-batch means.",
    ),
    Defect(
        "other_images",
        COLUMNS,
        "Attacked accuracy is that of other images, here of training images.",
        "The wrong loader in the attacked part of an evaluation.",
    ),
    Defect(
        "collapse",
        ("clean", *COLUMNS),
        "The model always answers the largest class.",
        "Training that diverged, or pruning that removed what mattered.",
    ),
)
BY_NAME = {defect.name: defect for defect in (SOUND, *DEFECTS)}
