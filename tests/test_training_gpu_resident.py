"""Training images kept on a device: the same bits as from main memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from meddef.data.images import ImageSet
from meddef.training.gpu_resident import Resident, resident

CPU = torch.device("cpu")


def drawn(count: int = 20) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 9, 9), dtype=np.uint8)
    names = tuple(map(str, range(count)))
    return ImageSet(pixels, np.arange(count, dtype=np.int64) % 4, names, names)


def test_batches_are_the_same_bits() -> None:
    images = drawn()
    there = Resident(images, CPU)
    assert len(there) == len(images)
    for indices in (torch.tensor([3, 19, 0]), [5], np.array([1, 1])):
        for ours, plain in zip(there.batch(indices), images.batch(indices), strict=True):
            assert torch.equal(ours, plain)
            assert ours.dtype == plain.dtype
    once = there.batch([2])[0]
    once.zero_()
    assert there.batch([2])[0].any()


def test_only_a_gpu_with_room_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    images = drawn()
    assert resident(images, CPU) is images
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(Resident, "__init__", lambda self, images, device: None)
    for free, kept in ((images.images.nbytes * 4, True), (images.images.nbytes * 3, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        assert isinstance(resident(images, gpu), Resident) is kept  # type: ignore[arg-type]
