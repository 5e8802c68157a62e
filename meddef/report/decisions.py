"""The page "What we had to decide": every ambiguity of the paper, and what the other reading changes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import pandas as pd

from meddef.data import CARDS
from meddef.paper import DECISIONS
from meddef.records import Record
from meddef.report.balanced import NOTE, ConstantClassifier, balanced_accuracy, constant_classifier
from meddef.report.display import Table, in_plain_words, place
from meddef.report.labels import attack_name
from meddef.report.paired import METHOD, Effect, corrected, effect, tally
from meddef.report.tables_setup import circumstances
from meddef.statistics import FEWEST_TRAININGS

FOLDER = Path("results") / "decisions"
COMMAND = "python -m meddef.laboratory.decisions"
NOTHING = f"The readings were not run: run `{COMMAND}`."
ONE_TRAINING = ("pruning", "epsilon_space")  # decisions whose two readings are of the same trained models
Condition = tuple[str, float, float]  # attack, ε, share pruned


def decisions_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; a note if nothing was measured."""
    records, origin = (_read(root / FOLDER / f"{name}.jsonl") for name in ("measurements", "provenance"))
    parts = [listing(records)]
    if not records:
        return {"decisions.md": "\n\n".join(parts), "decisions_measured.md": f"{NOTHING}\n"}
    measured = [summary(records), table(records)._repr_html_(), origin_of(origin)._repr_html_()]
    return {"decisions.md": "\n\n".join(parts), "decisions_measured.md": "\n\n".join(measured) + "\n"}


def _read(path: Path) -> list[Record]:
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    )


def effects(records: Iterable[Record]) -> dict[str, dict[str, dict[Condition, Effect]]]:
    """Decision -> dataset -> condition -> accuracy with the other reading minus accuracy with the one taken.

    Each decision on a dataset is a question; p-values are corrected for its conditions.
    """
    kept: dict[tuple[str, str], dict[Condition, dict[str, dict[int, Record]]]] = {}
    for record in records:
        condition = record["attack"], record["eps"], record["prune_rate"]
        choices = kept.setdefault((record["decision"], record["dataset"]), {}).setdefault(condition, {})
        choices.setdefault(record["choice"], {})[record["seed"]] = record
    found: dict[str, dict[str, dict[Condition, Effect]]] = {}
    for (decision, dataset), conditions in kept.items():
        pairs = {
            condition: effect([(1, choices["other"]), (-1, choices["taken"])], _trained)
            for condition, choices in conditions.items()
        }
        found.setdefault(decision, {})[dataset] = corrected({c: each for c, each in pairs.items() if each})
    return found


def _trained(record: Record) -> str:
    """The training of a record: that of its reading, or one for both."""
    return "taken" if record["decision"] in ONE_TRAINING else str(record["choice"])


def listing(records: list[Record]) -> str:
    """Every decision: a heading, and a line each for the paper, what was taken, why, and the other reading."""
    found = effects(records)
    parts = []
    for decision in DECISIONS:
        where = ", ".join(place(section) for section in decision["places"])
        lines = [
            f"## {decision['thing']}",
            f"- *The paper* ({where}): {decision['paper']}.",
            f"- *Taken*: {decision['taken']}.",
            f"- *Why*: {decision['why']}.",
            f"- *The other reading*: {decision['other']}. {told(found.get(decision.get('measured', ''), {}))}",
        ]
        parts.append("\n".join([lines[0], "", *lines[1:]]))
    return "\n\n".join(parts) + "\n"


def told(by_dataset: dict[str, dict[Condition, Effect]]) -> str:
    """The effect of the other reading and its largest size; "not measured" without records."""
    if not by_dataset:
        return "Not measured."
    sentences = []
    for dataset, found in by_dataset.items():
        most = max(found, key=lambda condition: abs(found[condition].value))
        sentences.append(
            f"{CARDS[dataset].title}: {tally(found.values())}; the largest change of accuracy is "
            f"{found[most].words()} ({condition_words(most)}, n = {found[most].n})"
        )
    return f"Measured. {'; '.join(sentences)}."


def summary(records: list[Record]) -> str:
    """Data, sizes and seeds, in a sentence."""
    seeds = len({record["seed"] for record in records})
    sizes = {CARDS[r["dataset"]].title: r["n"] for r in records}
    images = "; ".join(f"{title}, n = {n} test images" for title, n in sizes.items())
    few = seeds < FEWEST_TRAININGS
    luck = " With so few trainings a difference may be due to chance, and no verdict on a reading follows."
    return (
        f"The full model, trained small on phantoms for each reading, {seeds} seed{'s' * (seeds > 1)}. {images}. "
        f"Small models on phantoms show whether a reading can matter, not its effect at full size.{luck * few}"
        f"{_collapsed(records)}"
    )


def _collapsed(records: list[Record]) -> str:
    """Number of conditions in which neither reading exceeds the constant classifier."""
    conditions = {
        (decision, dataset, condition)
        for decision, by_dataset in effects(records).items()
        for dataset, found in by_dataset.items()
        for condition in found
    }
    low = sum(
        all(
            accuracy(records, *place, choice) <= _constant_of(records, place[1])
            for choice in ("taken", "other")
        )
        for place in conditions
    )
    if not low:
        return ""
    return (
        f" In {low} of the {len(conditions)} conditions below neither reading exceeds the constant classifier, which "
        "leaves little room for a difference."
    )


def table(records: list[Record]) -> Table:
    """Every decision and condition: the difference between the readings, and the accuracies behind it."""
    names = {d["measured"]: d["thing"] for d in DECISIONS if "measured" in d}
    rows = [
        {
            "decision": names[decision],
            "images": CARDS[dataset].title,
            "condition": condition_words(condition),
            "taken (%)": rates(records, decision, dataset, condition, "taken"),
            "other (%)": rates(records, decision, dataset, condition, "other"),
            "constant classifier (%)": _constant(records, dataset),
            "other minus taken (points)": each.cell(),
            "p, corrected": each.evidence(),
        }
        for decision, by_dataset in effects(records).items()
        for dataset, found in by_dataset.items()
        for condition, each in found.items()
    ]
    caption = f"Accuracy with each reading, mean over seeds. {NOTE} {METHOD}"
    return Table(pd.DataFrame(rows), caption, header=3)


def accuracy(records: list[Record], decision: str, dataset: str, condition: Condition, choice: str) -> float:
    """Mean over seeds, a share."""
    return fmean(r["right"] / r["n"] for r in _of(records, decision, dataset, condition, choice))


def _of(
    records: list[Record], decision: str, dataset: str, condition: Condition, choice: str
) -> list[Record]:
    return [
        r
        for r in records
        if (r["decision"], r["dataset"], r["choice"]) == (decision, dataset, choice)
        and (r["attack"], r["eps"], r["prune_rate"]) == condition
    ]


def rates(records: list[Record], decision: str, dataset: str, condition: Condition, choice: str) -> str:
    """Accuracy, and balanced accuracy below it, means over seeds: "51.0" and "balanced 49.8"."""
    ours = _of(records, decision, dataset, condition, choice)
    balanced = fmean(balanced_accuracy(_with_classes(r)).value for r in ours)
    right = accuracy(records, decision, dataset, condition, choice)
    return f"{100 * right:.1f}\nbalanced {100 * balanced:.1f}"


def _constant(records: list[Record], dataset: str) -> str:
    """The constant classifier on the images, which are the same in every condition."""
    answer = _answer(records, dataset)
    return f"{100 * answer.accuracy.value:.1f}\nbalanced {100 * answer.balanced:.1f}"


def _constant_of(records: list[Record], dataset: str) -> float:
    return _answer(records, dataset).accuracy.value


def _answer(records: list[Record], dataset: str) -> ConstantClassifier:
    return constant_classifier(_with_classes(next(r for r in records if r["dataset"] == dataset)))


def _with_classes(record: Record) -> Record:
    return {**record, "classes": CARDS[record["dataset"]].classes}


def condition_words(condition: Condition) -> str:
    """ "PGD at ε = 0.05, 30 % pruned"."""
    attack, eps, rate = condition
    words = attack_name(attack) + (f" at ε = {eps:g}" if eps else "")
    return words + (f", {100 * rate:.0f} % pruned" if rate else "")


def origin_of(origin: list[Record]) -> Table:
    """Where the measured numbers come from, with the settings."""
    rows = circumstances(origin) | {"command": COMMAND}
    training = origin[0]["settings"]["training"]
    rows["training"] = (
        f"{training['epochs']} epochs, batch {training['batch_size']}, learning rate {training['learning_rate']:g}, "
        f"PGD with {training['adversarial']['steps']} steps, {origin[0]['settings']['image_size']} px"
    )
    rows["attack"] = "PGD: " + ", ".join(
        f"{in_plain_words(name)} {value:g}" for name, value in origin[0]["settings"]["pgd"].items()
    )
    frame = pd.DataFrame({"": list(rows), "value": list(rows.values())})
    return Table(frame, "Provenance.", left=("value",))
