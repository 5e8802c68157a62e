"""A copy of a model without its BatchNorms: each that alone follows a convolution becomes part of it (fx rewriting)."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from meddef.attacks.half_precision import Widened
from meddef.errors import InputError


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = isinstance(
            m, nn.BatchNorm2d | nn.Dropout | Widened
        )  # of subclasses too, such as those of several processes
        return leaf or super().is_leaf_module(m, module_qualified_name)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turns any error inside into the message that this (working) model has no copy for ``fast=True``."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise InputError(f"fast=True cannot {what} this model ({reason}); leave fast out") from error


def without_batch_norm(model: nn.Module) -> tuple[fx.GraphModule, dict[str, str]]:
    """A private copy with the graph rewritten, and name of each convolution -> name of the BatchNorm it must take in.

    The weights are still those of the convolutions alone; a missing bias is zero. A BatchNorm stays where its
    convolution has hooks, or computed or shared weights.

    Raises:
        InputError: the model cannot be copied, or ``torch.fx`` cannot trace it.
    """
    with refusing("copy"):  # a lock, or a weight computed before every forward pass, as old weight_norm does
        network = copy.deepcopy(model)
    with refusing("trace"):
        graph = _Tracer().trace(network)
    modules, pairs = dict(network.named_modules()), {}
    holders = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        before = node.all_input_nodes[0]
        convolution = modules.get(str(before.target)) if before.op == "call_module" else None
        if type(convolution) is not nn.Conv2d or not plain(convolution) or not plain(norm):
            continue
        if len(before.users) > 1 or any(holders[id(own)] > 1 for own in convolution.parameters()):
            continue
        if calls[before.target] > 1 or calls[node.target] > 1:
            continue  # one set of weights cannot stand for two BatchNorms
        pairs[str(before.target)] = str(node.target)
        node.replace_all_uses_with(before)
        graph.erase_node(node)
        if convolution.bias is None:
            convolution.bias = nn.Parameter(convolution.weight.new_zeros(convolution.out_channels))
    graph.lint()
    traced = fx.GraphModule(network, graph)
    traced.delete_all_unused_submodules()
    return traced, pairs


def plain(module: nn.Module) -> bool:
    """Whether the output depends only on the module's own ``forward`` and parameters: no hooks, no computed weight (old
    ``weight_norm``, ``torch.nn.utils.prune``)."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return not any(hooks) and (getattr(module, "weight", None) is None or "weight" in module._parameters)


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under all their names: a copy may list a shared one under another name first."""
    parameters, buffers = (
        find(remove_duplicate=False) for find in (model.named_parameters, model.named_buffers)
    )
    return {**dict(parameters), **dict(buffers)}
