"""The five models: the paper's parameter counts, shapes, and where the normalisation is."""

import pytest
import torch
from torch import nn

from meddef.errors import InputError
from meddef.models import AFD, KNOWN_VARIANTS, MFE, MSF, DefenseModule, SelfAttention, build_model

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
