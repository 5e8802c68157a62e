"""The chapter on robustness reports: the checks passed by each sound and each broken model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from meddef.figures.pages import PageFigure
from meddef.laboratory.tables import LABORATORY, is_drawn, read
from meddef.records import Record
from meddef.report.display import DASH, Table, in_plain_words
from meddef.report.report import Report
from meddef.trust.laboratory import NOTHING, TITLES
from meddef.trust.robustness_figures import ALT, strengths
from meddef.trust.sources import name_of, of_laboratory

PAGE = "trust_robustness"
NO_PROFILE = "No report on a profile's models is stored: run `meddef lab --profile NAME` on a run's weights."
# The question of each check, in the order of the report.
QUESTIONS = {
    "better_than_one_class": "Is the model better than a constant classifier?",
    "deterministic": "Are its predictions deterministic?",
    "gradient_exists": "Is there a gradient that is not zero throughout an image?",
    "gradient_does_not_vanish": "Does the loss keep its gradient, or has the softmax saturated?",
    "gradient_agrees": "Does a small step change the output as the gradient predicts?",
    "gradient_beats_random_directions": "Does the loss rise higher along the gradient than along random directions?",
    "attack_stays_in_bounds": "Does the attack respect its budget?",
    "attack_moves": "Does the attack change the images at all?",
    "attack_reaches": "Do the attack's steps add up to the radius (twice that from a random start)?",
    "loss_rises": "Are images that resist closer to the decision boundary than before?",
    "success_is_returned": "If an intermediate iterate was adversarial, is it returned?",
    "iterative_beats_single_step": "Does the iterative attack succeed at least as often as a single step?",
    "rises_with_epsilon": "Does the attack succeed at least as often at a larger ε?",
    "everything_falls": "With an unlimited budget, does the attack succeed on every image?",
    "chance_at_large_epsilon": "At ε = 0.5, where all images may become the same grey, is accuracy down to chance?",
    "converged": "Do more steps, restarts and another loss succeed on few further images?",
    "noise_does_little": "Does random noise of the same size succeed far less often than the attack?",
    "gradient_free_does_not_win": "Does a gradient-free attack succeed no more often?",
    "worst_case_is_near": "Image by image, do several attacks together succeed on few further images?",
    "finds_planted": "Does the attack find adversarial examples that are known to exist?",
    "transfer_does_not_win": "Do examples transferred from an undefended model succeed no more often?",
    "twin_falls": "Does the attack work on an undefended model?",
}  # fmt: skip


def robustness_page(root: Path) -> dict[str, str]:
    """File name -> content; a sentence where there are no records."""
    records = read(root, "robustness")
    if not records:
        return dict.fromkeys(
            ("robustness_items.md", "robustness_lab.md", "robustness_profiles.md"), f"{NOTHING}\n"
        )
    pages = {LABORATORY: "", "profiles": ""}
    files: dict[str, str] = {}
    for own in groups(records):
        kind = LABORATORY if own[0]["source_of_models"] == LABORATORY else "profiles"
        figure = _strengths(root, own)
        files |= figure.files()
        pages[kind] += "\n\n".join(_group(root, own, figure)) + "\n\n"
    return files | {
        "robustness_items.md": f"{sources(records)._repr_html_()}\n",
        "robustness_lab.md": pages[LABORATORY],
        "robustness_profiles.md": pages["profiles"] or f"{NO_PROFILE}\n",
    }


def groups(records: list[Record]) -> list[list[Record]]:
    """Records of one source, dataset and ε together, in their order."""
    found: dict[tuple[str, str, float], list[Record]] = {}
    for record in records:
        found.setdefault((record["source_of_models"], record["dataset"], record["eps"]), []).append(record)
    return list(found.values())


def _strengths(root: Path, own: list[Record]) -> PageFigure:
    told = dict.fromkeys([name_of(own[0]), own[0]["dataset"], f"{own[0]['eps']:g}"])
    name = "_".join([PAGE, "strengths", *told])
    return PageFigure(strengths(own), name, PAGE, of_laboratory(root, "robustness", own), ALT)


def _group(root: Path, own: list[Record], figure: PageFigure) -> list[str]:
    return [
        f"### {_title(root, own[0])}",
        _scope(own),
        f'<div class="meddef-verdicts">{verdicts(own)._repr_html_()}</div>',
        figure.shown(),
        failures(own),
    ]


def _title(root: Path, record: Record) -> str:
    """Images and ε; for models of stored runs, the title of their pages."""
    images = TITLES.get(record["dataset"], record["dataset"])
    run = root / "results" / name_of(record)
    if record["source_of_models"] != LABORATORY and run.is_dir():
        report = Report.load(run.name, run.parent)
        images = next((report.title_of(d) for d in report.datasets if d.name == record["dataset"]), images)
    title = f"{images}, ε = {record['eps']:.3g}"
    return title[0].upper() + title[1:]


def _scope(own: list[Record]) -> str:
    """Which images, which budget and which seed, in a sentence."""
    images = next(r["numbers"]["images"] for r in own if r["name"] == "better_than_one_class")
    kind = "drawn" if is_drawn(own[0]["dataset"]) else "real"
    seed = f", models of seed {own[0]['seed']}" if "seed" in own[0] else ""
    return f"On {images} {kind} test images, budget `{own[0]['budget']}`{seed}."


def sources(records: list[Record]) -> Table:
    """Every check: question, reference and other explanations of a FAIL."""
    items = {r["name"]: r for r in records}
    rows = [
        {
            "item": in_plain_words(name),
            "question": QUESTIONS[name],
            "else, a FAIL may come from": items[name]["also"],
            "asked by": items[name]["source"].partition(", arXiv")[0],
        }
        for name in _asked(records)
    ]
    left = ("question", "else, a FAIL may come from", "asked by")
    return Table(pd.DataFrame(rows), "The items.", left=left)


def verdicts(records: list[Record]) -> Table:
    """One row per item, one column per model; PASS is a dot, so that the rest stands out. Accuracies, and the
    largest class's share of the images, first and last."""
    models = list(dict.fromkeys(record["model"] for record in records))
    found = {(record["name"], record["model"]): record for record in records}
    rows = [
        {"item": in_plain_words(name)}
        | {_short(model): found[name, model]["verdict"].replace("PASS", "·") for model in models}
        for name in _asked(records)
    ]
    first = {"item": "clean accuracy"}
    constant = {"item": "constant classifier"}
    last = {"item": "worst case"}
    for model in models:
        first[_short(model)] = _percent(found["better_than_one_class", model], "accuracy")
        constant[_short(model)] = _percent(found["better_than_one_class", model], "largest_class")
        last[_short(model)] = _percent(found["worst_case_is_near", model], "robust_accuracy")
    caption = "· is PASS; N-A: a requirement is missing. Worst case: image by image, over several attacks."
    return Table(pd.DataFrame([first, constant, *rows, last]), caption)


def _asked(records: list[Record]) -> list[str]:
    """The items in their order; one that was added after a report was made is not in it."""
    return [name for name in QUESTIONS if any(record["name"] == name for record in records)]


def _percent(record: Record, name: str) -> str:
    numbers = record["numbers"]
    return f"{numbers[name]:.0%}" if numbers else DASH


def failures(records: list[Record]) -> str:
    """The numbers behind every FAIL, as a table."""
    rows = [
        {
            "model": record["model"],
            "item": in_plain_words(record["name"]),
            "measurement": record["detail"],
        }
        for record in records
        if record["verdict"] == "FAIL"
    ]
    if not rows:
        return "Nothing failed."
    table = Table(
        pd.DataFrame(rows), "The failed checks, with the measured values.", header=2, left=("measurement",)
    )
    return table._repr_html_()


def _short(model: str) -> str:
    return model.replace("MedDef ", "").replace("(Full DAAM)", "Full DAAM")
