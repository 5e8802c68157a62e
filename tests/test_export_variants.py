"""Every variant as ONNX at 64 px, and the full model, whose adaptive pooling the exporter lacks, at 224 px."""

from pathlib import Path

import pytest
import torch

from meddef.export import export
from meddef.models import KNOWN_VARIANTS, build_model


@pytest.mark.parametrize(("variant", "size"), [*((name, 64) for name in KNOWN_VARIANTS), ("full", 224)])
def test_every_variant_is_exported(variant: str, size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    done = export(build_model(variant, 2, mean=0.5, std=0.2), tmp_path / "model.onnx", (3, size, size))
    assert done.difference < 1e-5 * done.largest
