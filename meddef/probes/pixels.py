"""Brightness, contrast and noise of images before and after preprocessing, and visibility of lesions.

Brightness and contrast are the mean and the standard deviation of an image's pixels. Noise is estimated from its second
differences (Immerkaer 1996, "Fast noise variance estimation"), which counts fine structure as noise: an upper bound.
A lesion's visibility is its contrast-to-noise ratio: |mean in the lesion - mean in the ring around it| over the noise.
Brightness, contrast and noise are in grey levels of 255.
"""

from __future__ import annotations

import cv2
import numpy as np

LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)
RING = 0.08  # width of the ring around a lesion, of the image's side


def measure(before: np.ndarray, after: np.ndarray, masks: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Of images uint8 (N, H, W), or of the luma of (N, H, W, 3), and where lesions are known of masks bool (N, H, W):
    "noise before", ... (N,) each.

    "lesion before" and "lesion after" are NaN for images without lesion.
    """
    found = {}
    for when, given in (("before", before), ("after", after)):
        images = given if given.ndim == 3 else np.stack([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in given])
        found[f"brightness {when}"] = images.mean((1, 2))
        found[f"contrast {when}"] = images.std((1, 2))
        found[f"noise {when}"] = np.array([noise(image) for image in images])
        if masks is not None:
            pairs = zip(images, masks, strict=True)
            found[f"lesion {when}"] = np.array([visibility(image, mask) for image, mask in pairs])
    return found


def noise(image: np.ndarray) -> float:
    """Standard deviation of Gaussian noise in an image (H, W), in its units: sqrt(pi/2) / 6 times the mean of the
    absolute Laplacian difference over its inner pixels."""
    response = cv2.filter2D(image.astype(np.float64), -1, LAPLACIAN)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(response).mean())


def visibility(image: np.ndarray, mask: np.ndarray) -> float:
    """Contrast-to-noise ratio of the lesion ``mask``; NaN without lesion, ring or noise."""
    width = 2 * max(1, round(RING * len(image))) + 1
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool) & ~mask
    level = noise(image)
    if not mask.any() or not ring.any() or not level:
        return float("nan")
    return float(abs(image[mask].mean() - image[ring].mean()) / level)
