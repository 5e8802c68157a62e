"""Phantoms: images drawn from a seed, a dataset that is always available.

Two families replace the paper's two datasets, with the same class names: "oct" for retinal OCT and
"xray" for chest X-rays. They are drawings, not simulations: they have the structure that a classifier uses, a
known lesion mask and patients with several images; measurements on them are no evidence about real patients.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meddef.data import phantom_oct, phantom_xray
from meddef.data.phantom_fields import Streams
from meddef.data.phantom_letter import Letter
from meddef.errors import InputError

FAMILIES: dict[str, tuple[str, ...]] = {"oct": phantom_oct.CLASSES, "xray": phantom_xray.CLASSES}
IMAGES_PER_PATIENT = 2
SMALLEST = 28

# Class of patient p is _CYCLES[family][p % length]: oct balanced, xray 3 of 11 NORMAL (27 %, as the real set).
_CYCLES: dict[str, tuple[int, ...]] = {"oct": (0, 1, 2, 3), "xray": (0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1)}


@dataclass(frozen=True)
class Phantoms:
    """Phantom images with their ground truth."""

    images: NDArray[np.uint8]  # (N, H, W)
    labels: NDArray[np.int64]  # (N,), index into classes
    masks: NDArray[np.bool_]  # (N, H, W), the lesion; empty for NORMAL
    patients: tuple[str, ...]  # (N,), such as "P0012"
    classes: tuple[str, ...]


def draw_phantoms(
    family: str,
    count: int,
    *,
    size: int = 64,
    seed: int = 0,
    first_patient: int = 0,
    healthy: bool = False,
    letter: Letter = "drawn",
) -> Phantoms:
    """Draw `count` square images of `family` ("oct" or "xray"), `size` pixels an edge.

    Image i depends only on (family, seed, i, size, first_patient): drawing more keeps the earlier ones. A
    patient has one class and IMAGES_PER_PATIENT images; patient p under a seed is the same person in every draw,
    and has the same anatomy at every size. The draw uses the patients from first_patient to
    first_patient + patients_needed(family, count) - 1, so draws whose ranges do not overlap share no patient.

    `healthy` leaves every lesion out, and another `letter` than "drawn" removes or moves that of an X-ray; all else
    of each image, and its label, stay as they are.

    Raises InputError for an unknown family, count < 1, size < 28, or a negative seed or first_patient.
    """
    _check(family, count)
    if size < SMALLEST:
        raise InputError(f"size must be at least {SMALLEST} pixels, got {size}; choose a larger size")
    if seed < 0 or first_patient < 0:
        raise InputError(
            f"seed and first_patient must be at least 0, got {seed} and {first_patient}; use 0 or more"
        )
    classes = FAMILIES[family]
    images = np.empty((count, size, size), np.uint8)
    masks = np.empty((count, size, size), np.bool_)
    labels = np.empty(count, np.int64)
    patients = []
    for i in range(count):
        patient, visit = _patient_and_visit(family, i)
        patient += first_patient
        labels[i] = _CYCLES[family][patient % len(_CYCLES[family])]
        streams, shown = _streams(family, seed, patient, visit), "NORMAL" if healthy else classes[labels[i]]
        if family == "xray":
            image, masks[i] = phantom_xray.draw_xray(size, streams, shown, letter)
        else:
            image, masks[i] = phantom_oct.draw_oct(size, streams, shown)
        images[i] = np.rint(image * np.float32(255.0))
        patients.append(f"P{patient:04d}")
    return Phantoms(images, labels, masks, tuple(patients), classes)


def patients_needed(family: str, count: int) -> int:
    """The number of patients of `count` images of `family`. Raises InputError as draw_phantoms does."""
    _check(family, count)
    cycle = len(_CYCLES[family])
    blocks, rest = divmod(count, cycle * IMAGES_PER_PATIENT)
    return blocks * cycle + min(rest, cycle)


def _check(family: str, count: int) -> None:
    if family not in FAMILIES:
        raise InputError(f"unknown phantom family {family!r}; choose one of {', '.join(FAMILIES)}")
    if count < 1:
        raise InputError(f"count must be at least 1 image, got {count}; ask for one image or more")


def _patient_and_visit(family: str, i: int) -> tuple[int, int]:
    """Image i goes once round a cycle of patients per visit, so that the classes stay mixed at any count."""
    cycle = len(_CYCLES[family])
    block, place = divmod(i, cycle * IMAGES_PER_PATIENT)
    visit, slot = divmod(place, cycle)
    return block * cycle + slot, visit


def _streams(family: str, seed: int, patient: int, visit: int) -> Streams:
    person = [zlib.crc32(family.encode()), seed, patient]
    scan = (np.random.default_rng([*person, 1 + visit, cause]) for cause in range(3))
    return Streams(np.random.default_rng([*person, 0]), *scan)
