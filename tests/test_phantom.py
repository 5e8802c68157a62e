"""Phantoms: what is drawn depends on what it should and on nothing else, and the mask covers the lesion."""

import hashlib
import re

import cv2
import numpy as np
import pytest

from meddef.data import phantom, phantom_fields, phantom_letter, phantom_oct, phantom_xray
from meddef.data.phantom import FAMILIES, IMAGES_PER_PATIENT, draw_phantoms, patients_needed
from meddef.data.phantom_oct import draw_oct
from meddef.data.phantom_xray import draw_xray
from meddef.errors import InputError

DRAW = {"oct": draw_oct, "xray": draw_xray}
LESIONS = [(family, label) for family, labels in FAMILIES.items() for label in labels if label != "NORMAL"]


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_types_and_masks(family):
    drawn = draw_phantoms(family, 44, size=48)
    assert drawn.images.shape == drawn.masks.shape == (44, 48, 48)
    assert (drawn.images.dtype, drawn.labels.dtype, drawn.masks.dtype) == (np.uint8, np.int64, np.bool_)
    assert drawn.classes == FAMILIES[family]
    assert len(drawn.patients) == 44
    sick = drawn.labels != drawn.classes.index("NORMAL")
    np.testing.assert_array_equal(drawn.masks.any(axis=(1, 2)), sick)
    assert drawn.masks.mean(axis=(1, 2)).max() < 0.35


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [32, 33, 97])
def test_images_use_the_range_at_any_size(family, size):
    images = draw_phantoms(family, 8, size=size).images
    assert (images.max(axis=(1, 2)) > 150).all()
    assert (images.min(axis=(1, 2)) < 40).all()
    assert (images.std(axis=(1, 2)) > 15).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_same_arguments_same_bits_and_seed_matters(family):
    first, again = draw_phantoms(family, 12, seed=3), draw_phantoms(family, 12, seed=3)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.masks, again.masks)
    other = draw_phantoms(family, 12, seed=4)
    assert not (first.images == other.images).all(axis=(1, 2)).any()


@pytest.mark.parametrize("family", FAMILIES)
def test_drawing_more_keeps_the_earlier_ones(family):
    few, many = draw_phantoms(family, 13, seed=1), draw_phantoms(family, 60, seed=1)
    np.testing.assert_array_equal(few.images, many.images[:13])
    np.testing.assert_array_equal(few.masks, many.masks[:13])
    np.testing.assert_array_equal(few.labels, many.labels[:13])
    assert few.patients == many.patients[:13]


def test_class_counts():
    for count in (4, 100, 400):
        assert np.bincount(draw_phantoms("oct", count, size=32).labels).tolist() == [count // 4] * 4
    assert np.bincount(draw_phantoms("xray", 110, size=32).labels).tolist() == [30, 80]
    normal = [(draw_phantoms("xray", count, size=32).labels == 0).mean() for count in (25, 64, 200)]
    np.testing.assert_allclose(normal, 0.27, atol=0.04)


@pytest.mark.parametrize("family", FAMILIES)
def test_patients_have_several_images_and_one_class(family):
    drawn = draw_phantoms(family, 88, size=32)
    classes: dict[str, set[int]] = {}
    for name, label in zip(drawn.patients, drawn.labels, strict=True):
        classes.setdefault(name, set()).add(int(label))
    assert all(re.fullmatch(r"P\d{4}", name) for name in classes)
    assert all(len(labels) == 1 for labels in classes.values())
    assert {drawn.patients.count(name) for name in classes} == {IMAGES_PER_PATIENT}


@pytest.mark.parametrize("family", FAMILIES)
def test_patients_needed_is_exact_and_ranges_do_not_meet(family):
    for count in (1, 3, 5, 12, 13, 34, 50):
        names = set(draw_phantoms(family, count, size=32, first_patient=7).patients)
        assert names == {f"P{7 + k:04d}" for k in range(patients_needed(family, count))}
    train = draw_phantoms(family, 40, size=32)
    test = draw_phantoms(family, 40, size=32, first_patient=patients_needed(family, 40))
    assert not set(train.patients) & set(test.patients)
    assert len(np.unique(np.concatenate([train.images, test.images]), axis=0)) == 80


@pytest.mark.parametrize("family", FAMILIES)
def test_a_patient_is_the_same_person_in_every_draw(family):
    early, late = draw_phantoms(family, 20, seed=5), draw_phantoms(family, 20, seed=5, first_patient=3)
    for name in set(early.patients) & set(late.patients):
        a, b = early.patients.index(name), late.patients.index(name)
        np.testing.assert_array_equal(early.images[a], late.images[b])
        assert early.labels[a] == late.labels[b]


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_one_patient_are_more_alike(family):
    drawn = draw_phantoms(family, 132, size=32)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 2.0) for image in drawn.images]).astype(np.float64)
    blurred /= blurred.mean(axis=(1, 2), keepdims=True)
    distance = np.abs(blurred[:, None] - blurred[None]).mean(axis=(2, 3))
    names, labels = np.array(drawn.patients), drawn.labels
    same_class = (labels[:, None] == labels[None]) & ~np.eye(132, dtype=bool)
    same_patient = (names[:, None] == names[None]) & same_class
    assert distance[same_patient].mean() < 0.75 * distance[same_class & ~same_patient].mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_anatomy_at_two_sizes(family):
    small, large = draw_phantoms(family, 8, size=64), draw_phantoms(family, 8, size=192)
    for k in range(8):
        shrunk = cv2.resize(large.images[k], (64, 64), interpolation=cv2.INTER_AREA)
        assert (
            np.corrcoef(cv2.blur(shrunk, (3, 3)).ravel(), cv2.blur(small.images[k], (3, 3)).ravel())[0, 1]
            > 0.95
        )
        assert abs(large.masks[k].mean() - small.masks[k].mean()) < 0.02


@pytest.mark.parametrize(("family", "label"), LESIONS)
def test_the_lesion_changes_pixels_in_and_around_its_mask(family, label):
    size, inside, area = 96, [], []
    kernel = np.ones((15, 15), np.uint8)
    for patient in range(12):
        sick, mask = DRAW[family](size, phantom._streams(family, 0, patient, 0), label)
        healthy, empty = DRAW[family](size, phantom._streams(family, 0, patient, 0), "NORMAL")
        assert not empty.any()
        energy = (sick - healthy) ** 2
        near = cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
        inside.append(energy[near].sum() / energy.sum())
        area.append(near.mean())
    assert np.mean(inside) > 0.7
    assert np.mean(area) < 0.25


@pytest.mark.parametrize("family", FAMILIES)
def test_brightness_alone_does_not_tell_the_class(family):
    drawn = draw_phantoms(family, 220, size=32)
    mean = drawn.images.mean(axis=(1, 2))
    centres = np.array([mean[drawn.labels == k].mean() for k in range(len(drawn.classes))])
    right = [
        (np.abs(mean - centres[:, None]).argmin(axis=0) == drawn.labels)[drawn.labels == k].mean()
        for k in range(len(centres))
    ]
    assert np.mean(right) < 1.0 / len(centres) + 0.25


def test_refusals():
    with pytest.raises(InputError, match="unknown phantom family 'mri'; choose one of oct, xray"):
        draw_phantoms("mri", 4)
    with pytest.raises(InputError, match="unknown phantom family 'mri'"):
        patients_needed("mri", 4)
    with pytest.raises(InputError, match="count must be at least 1 image, got 0"):
        draw_phantoms("oct", 0)
    with pytest.raises(InputError, match="size must be at least 28 pixels, got 27"):
        draw_phantoms("oct", 4, size=27)
    with pytest.raises(InputError, match="at least 0, got -1 and 0"):
        draw_phantoms("oct", 4, seed=-1)
    with pytest.raises(InputError, match="at least 0, got 0 and -2"):
        draw_phantoms("xray", 4, first_patient=-2)


@pytest.mark.parametrize(("family", "seen"), [("oct", "c1083d6b8f66830e"), ("xray", "234a04c59927b282")])
def test_every_release_and_processor_draws_these_images(family, seen):
    """One grey level is another data set, with other keys. tests/test_opencv.py draws with others than those here."""
    drawn = draw_phantoms(family, 320, size=32)
    assert hashlib.sha256(drawn.images.tobytes()).hexdigest()[:16] == seen


def test_opencv_draws_nothing():
    modules = (phantom, phantom_fields, phantom_letter, phantom_oct, phantom_xray)
    assert not any(hasattr(module, "cv2") for module in modules)


@pytest.mark.parametrize(("cells", "size"), [((5, 5), 32), ((48, 48), 33), ((30, 22), 64), ((12, 20), 224)])
def test_clouds_are_enlarged_bicubically(cells, size):
    cloud = phantom_fields.cloud(np.random.default_rng(1), cells, size)
    grid = np.random.default_rng(1).standard_normal(cells, dtype=np.float32)
    np.testing.assert_allclose(
        cloud, cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), atol=1e-5
    )


def test_a_ripple_is_a_cosine():
    turns = np.linspace(-5.0, 5.0, 9973)
    ripple = phantom_fields.ripple(turns.astype(np.float32))
    np.testing.assert_allclose(ripple, np.cos(2.0 * np.pi * turns), atol=1e-5)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_spokes_go_once_round_each_hilum(right):
    branches = np.random.default_rng(0).standard_normal((24, 80), dtype=np.float32)
    row, column = np.mgrid[0.0:22.0:0.5, 0.0:40.0:0.5]
    angle, away = column * (2.0 * np.pi / 40.0), row / 40.0
    place = ((away * np.cos(angle)).astype(np.float32), (away * np.sin(angle)).astype(np.float32))
    spokes = phantom_xray._spokes(branches, *place, np.full_like(place[0], right))
    whole = branches[:22, 40:] if right else branches[:22, :40]
    np.testing.assert_allclose(spokes[2::2, ::2], whole[1:], atol=1e-3)
    np.testing.assert_allclose(spokes[2::2, 1::2], (whole + np.roll(whole, -1, axis=1))[1:] / 2, atol=1e-3)


ON_THE_R = ((0.0, 0.1), (0.0, 0.75), (0.2, 1.0), (0.2, 0.5), (0.61, 0.75), (0.54, 0.93), (0.48, 0.25))
BESIDE_IT = ((0.25, 0.75), (0.2, 0.2), (0.6, 0.4), (-0.2, 0.5), (0.85, 0.75), (0.3, 1.3), (0.3, -0.25))


@pytest.mark.parametrize("size", [224, 512])
def test_the_letter_is_an_r(size):
    letter = phantom_letter.letter_r(size, 0.3, 0.5)

    def brightness(across, up):
        height = phantom_letter.HEIGHT
        return letter[int((0.5 - up * height) * size), int((0.3 + across * height) * size)]

    assert min(brightness(*place) for place in ON_THE_R) > 0.6
    assert max(brightness(*place) for place in BESIDE_IT) == 0.0
