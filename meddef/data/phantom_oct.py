"""OCT-like phantom: a cross-section of the retina, with the four classes of the ROCT data set.

The retina is a stack of boundaries, one depth a column, between layers of constant reflectivity; the order of
the layers follows the usual nomenclature (Staurenghi et al. 2014, doi 10.1016/j.ophtha.2014.02.023). A lesion
moves boundaries (drusen, membrane) or darkens a part (cysts), so the layers bend around it as in a real scan.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meddef.data.phantom_fields import (
    Array,
    Streams,
    cloud,
    pixel_centres,
    power,
    severity,
    soft_step,
    wave,
)

CLASSES = ("CNV", "DME", "DRUSEN", "NORMAL")

# Share of the retinal thickness and reflectivity, from the inner limiting membrane to the ellipsoid zone.
INNER_LAYERS = {"NFL": (0.09, 0.56), "GCL+IPL": (0.25, 0.39), "INL": (0.12, 0.25), "OPL": (0.08, 0.37)}
OUTER_LAYERS = {"ONL": (0.25, 0.21), "ELM": (0.03, 0.33), "IS": (0.03, 0.26), "EZ": (0.055, 0.74)}
GAP = (0.03, 0.42)
RPE = (0.08, 0.88)
VITREOUS = 0.05


@dataclass(frozen=True)
class Scan:
    """Geometry of one scan; depths and positions in units of the image edge, curves of shape (size,)."""

    base: Array  # depth of Bruch's membrane
    fovea: float
    thickness: float
    pit: Array  # factor on the thickness of the inner layers
    choroid: float
    letterbox: float  # height of the scan within the square image


@dataclass
class Lesion:
    """The changes made by a disease; all curves of shape (size,), zero where healthy."""

    lift: Array  # RPE above Bruch's membrane
    fluid: Array  # dark gap between photoreceptors and RPE
    swelling: Array  # added factor on the inner layers
    cysts: list[tuple[float, float, float, float]]  # x, share of the way from ILM to EZ, half axes
    material: float = 0.4  # reflectivity between RPE and Bruch's membrane
    blur: float = 0.0  # loss of the ellipsoid line over the lesion
    cyst_depth: float = 0.8


def draw_oct(size: int, streams: Streams, label: str) -> tuple[Array, NDArray[np.bool_]]:
    """One scan, (size, size) float32 in [0, 1], and its lesion mask, (size, size) bool.

    With the same streams and `label` "NORMAL" the same eye is drawn in the same scan without its lesion.
    """
    x = pixel_centres(size)
    scan = _scan(streams, x)
    lesion = _lesion(streams.lesion, label, scan, x)
    y = (x[:, None] - 0.5) / scan.letterbox + 0.5
    image, mask = _layers(scan, lesion, y, size)
    image = _vessels_and_texture(image, scan, streams.view, x, y, size)
    return _camera(image, scan, streams, x, y, size), mask


def _bump(distance: Array, width: float) -> Array:
    """`bump` in single precision, which AVX2 and AVX-512 round alike: the stored records are of these images, and
    double precision would change a grey level of one pixel in one image of fifty."""
    scaled = distance * (1.0 / width)
    return np.exp(-0.5 * scaled * scaled)


def _scan(streams: Streams, x: Array) -> Scan:
    patient, view = streams.patient, streams.view
    centred = 2.0 * x - 1.0
    base = patient.uniform(0.55, 0.64) + view.normal(0.0, 0.015)
    curvature = patient.uniform(0.0, 0.08) + view.normal(0.0, 0.01)
    tilt = patient.normal(0.0, 0.025) + view.normal(0.0, 0.01)
    curve = base - curvature * centred**2 + tilt * centred + 0.006 * wave(patient, 6, x)
    fovea = patient.uniform(0.42, 0.58) + view.normal(0.0, 0.03)
    width = patient.uniform(0.06, 0.11)
    depth = patient.uniform(0.5, 0.85) * view.uniform(0.6, 1.0)
    rim = 0.12 * _bump(x - fovea, 2.6 * width)
    nasal = patient.uniform(-0.2, 0.2) * centred
    pit = 1.0 + rim + nasal - (depth + 0.12) * _bump(x - fovea, width)
    return Scan(
        base=curve.astype(np.float32),
        fovea=fovea,
        thickness=patient.uniform(0.19, 0.25),
        pit=np.maximum(pit, 0.08).astype(np.float32),
        choroid=patient.uniform(0.045, 0.12),
        letterbox=0.75 if patient.random() < 0.12 else 1.0,
    )


def _lesion(rng: np.random.Generator, label: str, scan: Scan, x: Array) -> Lesion:
    zero = np.zeros_like(x)
    if label == "DRUSEN":
        return Lesion(
            lift=_drusen(rng, scan, x), fluid=zero, swelling=zero, cysts=[], material=rng.uniform(0.45, 0.7)
        )
    if label == "CNV":
        return _membrane(rng, scan, x)
    if label == "DME":
        return _oedema(rng, scan, x)
    return Lesion(lift=zero, fluid=zero, swelling=zero, cysts=[])


def _drusen(rng: np.random.Generator, scan: Scan, x: Array) -> Array:
    lift, grade = np.zeros_like(x), severity(rng)
    for _ in range(rng.integers(5, 11)):
        centre = scan.fovea + rng.normal(0.0, 0.15)
        one = _bump(x - np.clip(centre, 0.08, 0.92), rng.uniform(0.018, 0.034))
        lift = np.maximum(lift, grade * rng.uniform(0.04, 0.06) * one)
    return lift


def _membrane(rng: np.random.Generator, scan: Scan, x: Array) -> Lesion:
    centre = float(np.clip(scan.fovea + rng.normal(0.0, 0.08), 0.2, 0.8))
    width = rng.uniform(0.07, 0.14)
    ragged = np.clip(1.0 + 0.25 * wave(rng, 24, x), 0.4, 1.6)
    grade = severity(rng)
    lift = grade * rng.uniform(0.09, 0.15) * np.exp(-power((x - centre) / (1.6 * width), 4)) * ragged
    beside = centre + float(rng.choice([-1.0, 1.0])) * width * rng.uniform(0.6, 1.4)
    fluid = grade * rng.uniform(0.0, 0.06) * _bump(x - beside, width * rng.uniform(0.6, 1.0))
    return Lesion(
        lift=lift.astype(np.float32),
        fluid=fluid,
        swelling=np.zeros_like(x),
        cysts=[],
        material=rng.uniform(0.4, 0.8),
        blur=rng.uniform(0.2, 0.8),
    )


def _oedema(rng: np.random.Generator, scan: Scan, x: Array) -> Lesion:
    centre = float(np.clip(scan.fovea + rng.normal(0.0, 0.08), 0.2, 0.8))
    width = rng.uniform(0.06, 0.14)
    cysts, grade = [], severity(rng)
    for _ in range(rng.integers(5, 11)):
        half_height = grade * rng.uniform(0.025, 0.055)
        place = centre + rng.normal(0.0, 0.7) * width
        cysts.append((place, rng.uniform(0.3, 0.75), half_height * rng.uniform(0.5, 1.1), half_height))
    zero = np.zeros_like(x)
    swelling = grade * rng.uniform(0.8, 1.5) * _bump(x - centre, width)
    return Lesion(lift=zero, fluid=zero, swelling=swelling, cysts=cysts, cyst_depth=rng.uniform(0.75, 0.97))


def _layers(scan: Scan, lesion: Lesion, y: Array, size: int) -> tuple[Array, NDArray[np.bool_]]:
    """Stack the layers upwards from Bruch's membrane; a pixel is the mean of the layers that cross it."""
    thickness = scan.thickness
    sick = np.clip(lesion.lift / 0.04 + lesion.fluid / 0.04, 0.0, 1.0) * lesion.blur
    depth = scan.base - lesion.lift
    rpe_bottom, rpe_top = depth, depth - RPE[0] * thickness
    depth = rpe_top - GAP[0] * thickness - lesion.fluid
    boundaries, values = [], []
    onl = OUTER_LAYERS["ONL"][0] * thickness
    for name, (share, value) in reversed(OUTER_LAYERS.items()):
        # A raised floor first thins the outer nuclear layer and only then raises the inner retina.
        layer = np.maximum(0.2 * onl, onl - 0.9 * lesion.lift) if name == "ONL" else share * thickness
        depth = depth - layer
        boundaries.append(depth)
        values.append(value - sick * (value - 0.3) if name == "EZ" else np.full_like(depth, value))
    for share, value in reversed(INNER_LAYERS.values()):
        depth = depth - share * thickness * (scan.pit + lesion.swelling)
        boundaries.append(depth)
        values.append(np.full_like(depth, value))
    ilm, photoreceptors = depth, rpe_top - GAP[0] * thickness - lesion.fluid
    gap = np.where(lesion.fluid > 0.008, 0.08, GAP[1])
    flat = np.ones_like(depth)
    stack = np.stack(
        [*reversed(boundaries), photoreceptors, rpe_top, rpe_bottom, scan.base], dtype=np.float32
    )
    floor = [gap, RPE[1] - 0.4 * sick, lesion.material * flat, 0.0 * flat]
    shades = [VITREOUS * flat, *reversed(values), *floor]
    steps = np.diff(np.stack(shades), axis=0).astype(np.float32)
    shares = soft_step(y[None] - stack[:, None], 1.0 / (size * scan.letterbox))
    image = VITREOUS + np.einsum("khw,kw->hw", shares, steps)
    half = 0.5 / (size * scan.letterbox)  # a pixel that the lesion only touches belongs to it
    mask = (y > rpe_top - half) & (y < scan.base + half) & (lesion.lift > 0.006)
    mask |= (y > photoreceptors - half) & (y < rpe_bottom) & (lesion.fluid > 0.008)
    if lesion.cysts:
        wet = _cysts(lesion, ilm, photoreceptors, y, size)
        image += wet * lesion.cyst_depth * (0.08 - image)
        mask |= wet > 0.5
        place = (y - ilm) / (photoreceptors - ilm)
        swollen = lesion.swelling / lesion.swelling.max() > 0.35 + 0.55 * (2.0 * place - 1.0) ** 2
        mask |= swollen & (place > 0.0) & (place < 1.0)
    return image, mask


def _cysts(lesion: Lesion, ilm: Array, floor: Array, y: Array, size: int) -> Array:
    """Share of each pixel that is cystoid fluid, (size, size) in [0, 1]."""
    x = pixel_centres(size)
    wet = np.zeros((size, size), np.float32)
    for place, share, half_width, half_height in lesion.cysts:
        column = int(np.clip(place, 0.0, 0.999) * size)
        middle = ilm[column] + share * (floor[column] - ilm[column])
        across, down = (x - place) / half_width, (y - middle) / half_height
        radius = np.sqrt(across**2 + down**2)
        np.maximum(wet, soft_step(1.0 - radius, 1.5 / (size * half_width)), out=wet)
    return wet


def _vessels_and_texture(
    image: Array, scan: Scan, rng: np.random.Generator, x: Array, y: Array, size: int
) -> Array:
    """Choroid fading with depth, shadows under vessels, uneven layers: present in every class."""
    below = y - scan.base
    fade = np.exp(np.maximum(below, 0.0) * (-1.0 / scan.choroid))
    pattern = np.clip(1.0 + 0.28 * cloud(rng, (30, 22), size), 0.2, 2.0)
    choroid = rng.uniform(0.24, 0.36) * pattern * fade + 0.035
    image = image + soft_step(below, 1.0 / size) * choroid
    shadow: Array = 1.0 + 0.08 * wave(rng, 9, x)
    for _ in range(rng.integers(0, 5)):
        vessel = _bump(x - rng.uniform(0.02, 0.98), rng.uniform(0.004, 0.01))
        shadow = shadow * (1.0 - rng.uniform(0.15, 0.4) * vessel)
    retina = soft_step(y - (scan.base - (0.9 * scan.thickness)), 0.05)
    image *= 1.0 + retina * (shadow - 1.0)
    return image * (1.0 + 0.07 * cloud(rng, (12, 20), size))


def _camera(image: Array, scan: Scan, streams: Streams, x: Array, y: Array, size: int) -> Array:
    """Gain, speckle, the white wedge of a straightened scan and the black bars of a padded one."""
    gain = streams.patient.uniform(0.8, 1.05) * streams.view.uniform(0.93, 1.07)
    wedge = streams.patient.random() < 0.25
    level, slope = streams.view.uniform(0.0, 0.06), streams.view.uniform(-0.08, 0.08)
    at_top = streams.view.random() < 0.5
    speckle = streams.noise.standard_normal((size, size), dtype=np.float32)
    coarse = min(1.0, (size / 224.0) ** 0.8)
    image = image * (gain + 0.28 * coarse * speckle)
    image += 0.04 * coarse * np.abs(speckle)
    if wedge:
        edge = level + slope * (x - 0.5)
        image = np.maximum(image, soft_step(edge - (y if at_top else 1.0 - y), 1.0 / size))
    inside = soft_step(np.minimum(y, 1.0 - y), 1.0 / size) if scan.letterbox < 1.0 else 1.0
    return np.clip(image * inside, 0.0, 1.0)
