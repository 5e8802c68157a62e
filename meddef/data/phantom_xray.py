"""X-ray-like phantom: a frontal chest, with the two classes of the Chest X-Ray (Pneumonia) data set.

Brightness is attenuation added up along the ray: body, heart, spine, ribs, less the air of two lungs. Pneumonia
takes air away from a part of a lung, so an opacity never hides the ribs in front of it. The patient faces the
reader: the heart is to the right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meddef.data.phantom_fields import (
    Array,
    Streams,
    bump,
    cloud,
    pixel_centres,
    power,
    ripple,
    severity,
    soft_step,
)
from meddef.data.phantom_letter import HEIGHT, WIDTH, Letter, letter_r

CLASSES = ("NORMAL", "PNEUMONIA")


@dataclass(frozen=True)
class Chest:
    """Where things are: u is measured from the midline, positive to the right, v from the top of the image."""

    u: Array  # (size, size)
    s: Array  # |u|
    v: Array  # (size, 1)
    right: Array  # (size, size) bool as float: 1 on the heart's side
    cage: Array  # (size, 1) half-width of the rib cage
    inner: Array  # (size, size) distance from the midline at which the lung starts
    lungs: Array  # (size, size) in [0, 1]
    pixel: float


def draw_xray(
    size: int, streams: Streams, label: str, letter: Letter = "drawn"
) -> tuple[Array, NDArray[np.bool_]]:
    """One radiograph, (size, size) float32 in [0, 1], and its lesion mask, (size, size) bool.

    With the same streams and `label` "NORMAL" the same chest is drawn in the same view without its opacities; with
    another `letter` the same image, its letter removed or moved if it has one.
    """
    chest = _chest(streams, size)
    patient, view = streams.patient, streams.view
    air = chest.lungs * _haze(chest, view)
    mask = np.zeros((size, size), np.bool_)
    if label == "PNEUMONIA":
        opacity = _opacities(chest, streams.lesion, size)
        air = air * (1.0 - opacity)
        shadow = opacity * chest.lungs
        mask = shadow > 0.45 * shadow.max()
    image = _body(chest, patient) + _bones(chest, patient, view) + _vessels(chest, patient, view, size)
    image = image - patient.uniform(0.34, 0.46) * air
    image *= 1.0 + 0.05 * cloud(patient, (5, 5), size)
    return _exposure(image, streams, size, letter), mask


def _chest(streams: Streams, size: int) -> Chest:
    patient, view = streams.patient, streams.view
    x = pixel_centres(size)
    zoom = patient.uniform(0.93, 1.06) * view.uniform(0.97, 1.03)
    v = (x[:, None] - 0.5) / zoom + (0.5 + view.normal(0.0, 0.015))
    lean = view.normal(0.0, 0.03)
    u = (x[None, :] - (0.5 + view.normal(0.0, 0.015))) / zoom - lean * (v - 0.5)
    s, right = np.abs(u), (u > 0).astype(np.float32)
    apex, widest = patient.uniform(0.06, 0.13), patient.uniform(0.72, 0.8)
    rise = np.clip((widest - v) / (widest - apex), 0.0, 1.0)
    cage = patient.uniform(0.32, 0.4) * np.sqrt(np.clip(1.0 - power(rise, 2.4), 0.0, 1.0))
    vessels = patient.uniform(0.06, 0.085) + 0.02 * bump(v - 0.3, 0.05)
    heart = patient.uniform(0.1, 0.17) * bump(v - patient.uniform(0.66, 0.74), 0.15)
    atrium = patient.uniform(0.02, 0.06) * bump(v - 0.66, 0.12)
    inner = (vessels + right * heart + (1.0 - right) * atrium).astype(np.float32)
    dome = patient.uniform(0.72, 0.82) + view.normal(0.0, 0.015) + right * patient.uniform(0.0, 0.04)
    flank = (s - 0.17) / 0.2
    floor = dome + patient.uniform(0.05, 0.11) * flank * flank
    soft = max(1.0 / size, 0.02)
    lungs = soft_step(cage - s, soft) * soft_step(s - inner, 2.0 * soft) * soft_step(floor - v, soft)
    return Chest(u, s, v, right, cage.astype(np.float32), inner, lungs.astype(np.float32), 1.0 / size)


def _body(chest: Chest, patient: np.random.Generator) -> Array:
    """Soft tissue: an elliptic trunk under sloping shoulders and the neck, the heart, the abdomen with its gas."""
    v = chest.v
    neck, girth = patient.uniform(0.12, 0.16), patient.uniform(0.44, 0.51)
    shoulders = 1.0 / (1.0 + np.exp((0.07 - v) / patient.uniform(0.028, 0.045), dtype=np.float64))
    arms = patient.uniform(0.0, 0.12) * bump(v - 0.24, 0.15)
    half = neck + (girth - neck) * shoulders + arms - 0.04 * soft_step(v - 0.5, 0.6)
    half = half.astype(np.float32)
    depth = np.sqrt(np.clip(1.0 - (chest.s / half) ** 2, 0.0, 1.0))
    image = patient.uniform(0.16, 0.26) * soft_step(half - chest.s, 0.02) + 0.34 * depth
    image += patient.uniform(0.04, 0.1) * soft_step(chest.inner - chest.s, 0.07)
    below = soft_step(v - 0.82, 0.15)
    gas = bump(chest.u - 0.2, 0.06) * bump(v - 0.93, 0.04)
    return image + below * (0.1 * depth - patient.uniform(0.0, 0.16) * gas)


def _bones(chest: Chest, patient: np.random.Generator, view: np.random.Generator) -> Array:
    """Spine, ribs behind and in front, the wall of the cage, collar bones."""
    s, v = chest.s, chest.v
    spacing = patient.uniform(0.068, 0.085)
    start = patient.uniform(0.0, 1.0)
    drop = 0.25 * s + patient.uniform(0.7, 1.1) * (s - 0.1) ** 2
    behind = ripple((v - drop) / spacing + start)
    front = ripple((v + 0.35 * s) / (spacing * 1.15) + start)
    ribs = np.clip(behind * 1.5, 0.0, 1.0) + 0.4 * bump(behind - 0.15, 0.25)
    ahead = np.clip(front * 1.5, 0.0, 1.0) * soft_step(s - 0.2, 0.15)
    within = soft_step(chest.cage + 0.02 - s, 0.03) * soft_step(0.9 - v, 0.1)
    visible = within * (0.35 + 0.65 * chest.lungs)
    strength = patient.uniform(0.08, 0.15) * view.uniform(0.85, 1.15)
    image = strength * visible * (ribs + 0.5 * ahead)
    wall = bump(s - chest.cage - 0.008, 0.012) * soft_step(chest.cage - 0.2, 0.2)
    wall *= soft_step(0.85 - v, 0.1)
    image += 0.16 * wall * (0.4 + 0.6 * ribs)
    vertebrae = 1.0 + 0.25 * ripple(17.0 * v)
    image += patient.uniform(0.05, 0.11) * bump(chest.u, 0.03) * vertebrae
    image -= 0.08 * bump(chest.u, 0.018) * soft_step(0.33 - v, 0.08)
    return image + _collar_bones(chest, patient)


def _collar_bones(chest: Chest, patient: np.random.Generator) -> Array:
    along = (chest.s - 0.05) / 0.34
    sag = patient.uniform(0.03, 0.09) * ripple(0.35 * along - 0.25)
    offset = np.abs(chest.v - patient.uniform(0.17, 0.23) + sag)
    ends = soft_step(along, 0.1) * soft_step(1.0 - along, 0.3)
    return 0.15 * soft_step(0.015 - offset, max(chest.pixel, 0.012)) * ends


def _vessels(chest: Chest, patient: np.random.Generator, view: np.random.Generator, size: int) -> Array:
    """Hilum and the vessels that spread from it; sometimes prominent in a healthy chest too."""
    across, down = chest.s - 0.12, chest.v - patient.uniform(0.42, 0.5)
    near = bump(np.sqrt(across**2 + 0.6 * down**2), 0.0775)
    spokes = _spokes(view.standard_normal((24, 80), dtype=np.float32), across, down, chest.right)
    texture = 0.5 * (cloud(view, (24, 24), size) + cloud(view, (48, 48), size))
    strength = patient.uniform(0.04, 0.1)
    marks = near * (1.0 + texture + 0.8 * np.maximum(spokes, 0.0))
    return chest.lungs * (strength * marks + 0.024 * texture)


def _spokes(branches: Array, across: Array, down: Array, right: Array) -> Array:
    """`branches` spread around each hilum, (size, size), linear in between: a row every 1/40 edge away from it, and
    half the columns around it, those of the second half where `right` is 1."""
    rows, columns = branches.shape
    turn = columns // 2
    away = np.minimum(np.sqrt(across**2 + down**2) * 40.0, rows - 1.5)
    angle = np.arctan2(down, across, dtype=np.float64).astype(np.float32)
    around = angle * (turn / (2.0 * np.pi))
    row, column = np.floor(away), np.floor(around)
    outward, onward = away - row, around - column
    start = row * columns + right * turn
    values = branches.ravel()

    def spoke(column: Array) -> Array:
        place = (start + column % turn).astype(np.intp)
        return values[place] * (1.0 - outward) + values[place + columns] * outward

    return spoke(column) * (1.0 - onward) + spoke(column + 1.0) * onward


def _haze(chest: Chest, view: np.random.Generator) -> Array:
    """Share of air left by what mimics disease in every class: soft tissue over the bases, a shallow breath."""
    bases = view.uniform(0.0, 0.25) * soft_step(chest.v - 0.62, 0.3)
    tops = view.uniform(0.0, 0.2) * soft_step(0.25 - chest.v, 0.2)
    return (1.0 - bases) * (1.0 - tops)


def _opacities(chest: Chest, rng: np.random.Generator, size: int) -> Array:
    """Share of air replaced, (size, size) in [0, 1): one lobe, scattered patches or a diffuse haze."""
    texture = np.clip(1.0 + 0.25 * cloud(rng, (9, 9), size), 0.3, 1.6)
    clear, grade = np.ones((size, size), np.float32), severity(rng)
    for side, down, spread, strength in _spots(rng):
        row = int(np.abs(chest.v - down).argmin())
        start = float(chest.inner[row][(chest.u[row] > 0) == (side > 0)].min())
        across = side * (start + rng.uniform(0.15, 0.75) * max(float(chest.cage[row, 0]) - start, 0.0))
        narrow = spread * rng.uniform(0.7, 1.1)
        shape = bump(chest.u - across, narrow) * bump(chest.v - down, spread)
        clear *= 1.0 - np.clip(grade * strength * shape * texture, 0.0, 0.95)
    return 1.0 - clear


def _spots(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Side, depth, spread and strength of each opacity."""
    kind = rng.choice(3, p=[0.4, 0.35, 0.25])
    side = float(rng.choice([-1.0, 1.0]))
    if kind == 0:
        return [(side, rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.16), rng.uniform(0.8, 1.0))]
    if kind == 1:
        sides = rng.choice([-1.0, 1.0], size=rng.integers(3, 7)).tolist()
        return [(s, rng.uniform(0.25, 0.7), rng.uniform(0.045, 0.08), rng.uniform(0.7, 1.0)) for s in sides]
    level = rng.uniform(0.6, 0.9)
    return [(s, rng.uniform(0.45, 0.65), rng.uniform(0.13, 0.2), level) for s in (-1.0, 1.0)]


def _exposure(image: Array, streams: Streams, size: int, letter: Letter) -> Array:
    """Contrast, brightness, the letter at the side, quantum noise."""
    view = streams.view
    gain, offset = view.uniform(0.95, 1.15), view.uniform(0.0, 0.07)
    image = power(np.clip(image * gain + offset, 0.0, 1.0), view.uniform(0.85, 1.15))
    if streams.patient.random() < 0.5:
        left, base = view.uniform(0.03, 0.1), view.uniform(0.1, 0.3)
        if letter == "moved":
            left = 1.0 - left - WIDTH * HEIGHT
        if letter != "removed":
            image = np.maximum(image, 0.94 * letter_r(size, left, base))
    noise = streams.noise.standard_normal((size, size), dtype=np.float32)
    return np.clip(image + 0.014 * noise, 0.0, 1.0)
