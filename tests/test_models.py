"""The five models: the paper's parameter counts, shapes, and where the normalisation is."""

import numpy as np
import pytest
import torch
from torch import nn

from meddef.errors import InputError
from meddef.models import (
    AFD,
    KNOWN_VARIANTS,
    MFE,
    MSF,
    DefenseModule,
    SelfAttention,
    build_model,
)
from meddef.models.cbam import CBAM
from meddef.pruning import prunable_weights, prune_l1, sparsity

PUBLISHED_MILLIONS = {  # Tables 1 and 2, column "Parameters (M)"
    ("resnet18", 4): "11.18",
    ("no_afd_mfe_msf", 4): "17.61",
    ("no_afd_mfe", 4): "16.57",
    ("no_afd", 4): "18.69",
    ("full", 4): "21.84",
    ("resnet18", 2): "11.18",
    ("no_afd_mfe_msf", 2): "17.61",
    ("no_afd_mfe", 2): "16.56",
    ("no_afd", 2): "18.69",
    ("full", 2): "21.84",
}


@pytest.mark.parametrize(("variant", "classes"), PUBLISHED_MILLIONS)
def test_parameter_counts_are_the_published_ones(variant: str, classes: int) -> None:
    count = sum(parameter.numel() for parameter in build_model(variant, classes).parameters())
    assert f"{count / 1e6:.2f}" == PUBLISHED_MILLIONS[variant, classes]


def parameters(variant: str, classes: int) -> int:
    return sum(parameter.numel() for parameter in build_model(variant, classes).parameters())


@pytest.mark.parametrize("classes", [2, 4, 8])
def test_the_plain_control_is_as_large_as_the_full_model(classes: int) -> None:
    assert abs(parameters("plain_capacity", classes) / parameters("full", classes) - 1) < 0.001


def test_the_attention_control_is_the_full_model_without_its_defense_module() -> None:
    full = build_model("full", 2).network
    module = sum(parameter.numel() for parameter in full.get_submodule("defense").parameters())
    assert parameters("attention_only", 2) == parameters("full", 2) - module


def test_models_with_one_component_differ_by_that_component_alone() -> None:
    """Each is MSF alone (16.56 M, published) with that block in MSF's place."""
    msf = sum(parameter.numel() for parameter in MSF(512).parameters())
    for variant, block in (("afd_only", AFD), ("mfe_only", MFE)):
        own = sum(parameter.numel() for parameter in block(512).parameters())
        assert parameters(variant, 2) == parameters("no_afd_mfe", 2) - msf + own
        (found,) = build_model(variant, 2).network.get_submodule("defense.components").children()
        assert isinstance(found, block)


@pytest.mark.parametrize("variant", KNOWN_VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 70)])
def test_any_size_from_32_gives_logits(variant: str, height: int, width: int) -> None:
    model = build_model(variant, 3).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, height, width)).shape == (2, 3)


def test_normalisation_is_inside() -> None:
    torch.manual_seed(0)
    model = build_model("resnet18", 2, mean=[0.1, 0.2, 0.3], std=0.5).eval()
    images = torch.rand(2, 3, 32, 32)
    by_hand = (images - torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1)) / 0.5
    with torch.no_grad():
        assert torch.equal(model(images), model.network(by_hand))


def test_attention_is_the_printed_equation() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8)
    x = torch.rand(2, 5, 8)
    scores = attention.query(x) @ attention.key(x).transpose(1, 2) / 8**0.5
    assert torch.allclose(attention(x), attention.output(scores.softmax(-1) @ attention.value(x)), atol=1e-6)


def test_afd_gates_the_input_and_keeps_a_residual() -> None:
    torch.manual_seed(0)
    block = AFD(4).eval()
    x = torch.rand(1, 4, 5, 5)
    assert torch.allclose(block(x), x + block.cleaner(x * block.gate(x)))
    nn.init.zeros_(block.cleaner.weight)
    nn.init.zeros_(block.cleaner.bias)
    assert torch.equal(block(x), x)


def test_defense_module_is_the_printed_equation() -> None:
    torch.manual_seed(0)
    module = DefenseModule(8, ("afd", "mfe", "msf")).eval()
    x = torch.rand(2, 8, 4, 4)
    parts = torch.cat([module.components[name](x) for name in ("afd", "mfe", "msf")], dim=1)
    assert torch.allclose(module(x), x + module.fusion(parts) * module.channel_attention(x))


def test_msf_sees_three_scales() -> None:
    block = MSF(4).eval()
    seen = []
    for scale in block.scales:
        scale.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[-2:])))
    block(torch.rand(1, 4, 16, 16))
    assert seen == [(2, 2), (4, 4), (8, 8)]


def test_cbam_is_the_printed_equations() -> None:
    """In numpy, loops over positions, with a spatial gate that is not at its start (a half everywhere)."""
    torch.manual_seed(0)
    module, x = CBAM(32).eval(), torch.randn(1, 32, 5, 6)
    assert torch.equal(module.spatial(torch.randn(1, 2, 5, 6)), torch.zeros(1, 1, 5, 6))
    nn.init.constant_(module.spatial[1].weight, 1.5)
    first, last = module.mlp[0], module.mlp[2]
    w0, b0, w1, b1, kernel = (
        t.detach().double().numpy()
        for t in (first.weight, first.bias, last.weight, last.bias, module.spatial[0].weight)
    )
    f = x[0].double().numpy()

    def mlp(pooled: np.ndarray) -> np.ndarray:
        return w1 @ np.maximum(w0 @ pooled + b0, 0) + b1

    f = f / (1 + np.exp(-(mlp(f.mean((1, 2))) + mlp(f.max((1, 2))))))[:, None, None]
    pooled = np.pad(np.stack([f.max(0), f.mean(0)]), ((0, 0), (3, 3), (3, 3)))
    convolved = [[(kernel[0] * pooled[:, i : i + 7, j : j + 7]).sum() for j in range(6)] for i in range(5)]
    by_hand = f / (1 + np.exp(-1.5 * np.array(convolved) / np.sqrt(1 + module.spatial[1].eps)))
    np.testing.assert_allclose(module(x)[0].detach().numpy(), by_hand, atol=1e-6)


def test_cbam_has_the_parameters_of_its_paper_and_is_pruned_with_them() -> None:
    """A module of C channels has C² / 8 + 17 C / 16 + 100; Woo et al. print 0.09 M for those of ResNet18."""
    more = parameters("cbam", 2) - parameters("resnet18", 2)
    assert more == 2 * sum(c * c // 8 + 17 * c // 16 + 100 for c in (64, 128, 256, 512)) == 89880
    model = build_model("cbam", 2)
    gates = [module for module in model.modules() if isinstance(module, CBAM)]
    assert len(gates) == 8
    weights = {id(weight) for weight in prunable_weights(model).values()}
    assert all({id(gate.mlp[0].weight), id(gate.spatial[0].weight)} <= weights for gate in gates)
    assert sparsity(prune_l1(model, 0.5)) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "resnet19", "num_classes": 2}, "unknown model variant 'resnet19'"),
        ({"variant": "full", "num_classes": 1}, "at least 2"),
        ({"variant": "full", "num_classes": 2, "std": 0.0}, "must be positive"),
        ({"variant": "full", "num_classes": 2, "dropout": 1.0}, r"must lie in \[0, 1\)"),
    ],
)
def test_bad_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(**arguments)
