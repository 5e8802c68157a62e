"""Typical wrong answers to lab 3."""

import torch
import torch.nn.functional as F


def fgsm(step, clamp, back=False):
    """FGSM with its own length of step and bounds, functions of (eps, mean, std)."""

    def attack(network, normalised, labels, *, eps, mean, std):
        z = normalised.clone().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(network(z), labels, reduction="sum"), z)
        found = normalised + step(eps, std) * g.sign()
        found = found.clamp(*clamp(mean, std)) if clamp else found
        return found * std + mean if back else found

    return attack


def sound(mean, std):
    return -mean / std, (1 - mean) / std


def unit(mean, std):
    return 0, 1


def by_distance(images, attacked, *, eps, mean, std):
    far = (attacked - images).abs().max()
    return "eps_normalised" if far < eps else "sound" if far < 2 * eps else "clamp_normalised"


WRONG = {
    "lab3.normalised_eps": [
        (lambda eps, mean, std: eps * std, "the way back"),
        (lambda eps, mean, std: (eps - mean) / std, "The mean cancels"),
        (lambda eps, mean, std: eps, "unchanged"),
        (lambda eps, mean, std: eps / mean, "divided by the mean"),
        (lambda eps, mean, std: eps / std**2, "two pixels ε apart"),
    ],
    "lab3.bounds": [
        (unit, "the bounds of pixels"),
        (lambda mean, std: (-1, 1), "one standard deviation"),
        (lambda mean, std: (mean - std, mean + std), "mean ± std"),
        (lambda mean, std: (0, 1 / std), "forgot to subtract the mean"),
        (lambda mean, std: ((1 - mean) / std, -mean / std), "mixed up the order"),
        (lambda mean, std: 1, "return two numbers"),
        (lambda mean, std: (-2.5, 2.5), "Put the pixels 0 and 1 through"),
    ],
    "lab3.fgsm": [
        (fgsm(lambda eps, std: eps, sound), "ε in standardised units. In pixels"),
        (fgsm(lambda eps, std: eps / std, unit), "became the mean"),
        (fgsm(lambda eps, std: eps, unit), "two bugs at once"),
        (fgsm(lambda eps, std: eps / std, None), "back in pixels your images run"),
        (fgsm(lambda eps, std: -eps / std, sound), "walked down"),
        (fgsm(lambda eps, std: eps * std, sound), "ε · std"),
        (fgsm(lambda eps, std: eps / std, sound, back=True), "these are pixels"),
        (fgsm(lambda eps, std: 2 * eps / std, sound), "the largest change is 0.1"),
    ],
    "lab3.diagnose": [
        (lambda images, attacked, **given: "sound", "you always say 'sound'"),
        (lambda images, attacked, **given: "bug", "the verdicts are sound"),
        (by_distance, "for images made with 'no_clamp'"),
        (
            lambda images, attacked, *, eps, mean, std: (
                "no_clamp" if attacked.min() < -1e-6 or attacked.max() > 1 + 1e-6 else "eps_normalised"
            ),
            "you say 'eps_normalised' for images made with 'sound'",
        ),
        (
            lambda images, attacked, *, eps, mean, std: "no_clamp" if attacked.min() < 0 else "sound",
            "Allow for rounding",
        ),
    ],
    "lab3.grey_levels": [
        (12.75, "the right reading"),
        (255 * 0.05 * 0.1933612, "of ROCT"),
        (255 * 0.05 / 0.22157896, "divided by std"),
        (0.05 * 0.22157896, "Grey levels run from"),
        (3.9, "you say 3.900"),
    ],
}
