"""Sentences whose numbers are computed from records: what was run, and what follows."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from meddef.image_size import px, sides
from meddef.paper import CLAIMS, PROTOCOL
from meddef.records import Record
from meddef.report.ablation import comparisons
from meddef.report.display import Text, bullets, in_words, place
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import attack_name, model_label, short_label
from meddef.report.largest_class import WHY, survivors
from meddef.report.paired import tally
from meddef.report.report import Dataset, Report, by_model
from meddef.report.scope import scope as scope
from meddef.report.tables import compression_pairs, epsilon_pairs
from meddef.report.tables_comparison import full_pgd
from meddef.report.training_words import easing as easing
from meddef.report.training_words import schedule as schedule
from meddef.report.training_words import training as training
from meddef.report.worst_case import ENSEMBLE, below_single


def data(report: Report) -> Text:
    """Sizes of the splits beside the paper's, and repeated images."""
    sentences = []
    for dataset in report.datasets:
        removed = len(dataset.record["report"].get("removed_from_training", [])) or "no"
        sizes = " / ".join(f"{dataset.size(split):,}" for split in ("train", "val", "test"))
        sentences.append(
            f"{dataset.words}: {sizes} images for training / validation / test, "
            f"{removed} training images removed as duplicates."
        )
    return bullets(sentences)


def ablation(report: Report, eps: float) -> Text:
    """The paired differences, step by step, and the largest one."""
    sentences = []
    for dataset in report.datasets:
        found = comparisons(report, dataset, eps)
        if not found:
            sentences.append(f"{dataset.words}: the models of the ablation were not all trained.")
            continue
        steps = dict.fromkeys(step for step, _ in found)
        told = "; ".join(
            f"{s}: {tally(each for (step, _), each in found.items() if step == s)}" for s in steps
        )
        (step, attack), most = max(found.items(), key=lambda item: (item[1].is_clear, abs(item[1].value)))
        sentences.append(
            f"{dataset.words}, effect of adding a component: {told}. The largest difference is {step} under "
            f"{attack_name(attack)}: {most.words()} on n = {most.n} ({most.verdict})."
        )
        sentences += _of_one_class(report, dataset, eps)
    sentences += [
        _feature_map(size) for size in sorted({sides(d.record["image_size"]) for d in report.datasets})
    ]
    return bullets(sentences)


def _of_one_class(report: Report, dataset: Dataset, eps: float) -> list[str]:
    """How many of the images that stay correct under PGD show the largest class, over the defended models."""
    records = [r for r in report.grid("epsilon", dataset.name) if (r["attack"], r["eps"]) == ("pgd", eps)]
    defended = by_model(r for r in records if r["training"] == "adversarial")
    found = [some for ours in defended.values() if (some := survivors(ours)).right]
    if not found:
        return []
    low, high = (f"{100 * end(s.largest / s.right for s in found):.0f}" for end in (min, max))
    shares = low if low == high else f"{low} to {high}"
    return [
        f"{dataset.words}: of the images that stay correct under PGD with adversarial training, by model, {shares} % "
        f"show {in_markdown(found[0].name)}, against {100 * found[0].share:.0f} % of all images; {WHY}."
    ]


def _feature_map(size: tuple[int, int]) -> str:
    """The input of the components: the backbone halves the image five times."""
    printed = PROTOCOL["preprocessing"]["image_size"]
    here, there = (" × ".join(str(math.ceil(s / 2**5)) for s in sides(each)) for each in (size, printed))
    if here == there:
        return f"The components work on {here} positions, as in the paper."
    return (
        f"At {px(size)} the components work on {here} positions, at the paper's {printed} px on "
        f"{there}: effects not seen here may appear there."
    )


def epsilon(report: Report) -> Text:
    """How published and measured accuracies compare, and which attack is the strongest in each."""
    pairs = epsilon_pairs(report)
    sentences = []
    for dataset in report.datasets:
        ours = pairs[pairs["dataset"] == dataset.name]
        sentences.append(f"{dataset.words}: {_agreement(ours, 'robust')}")
        sentences.append(_above_clean(ours))
        sentences.append(_worst_case(report, dataset))
    return bullets([sentence for sentence in sentences if sentence])


def _agreement(pairs: pd.DataFrame, rate: str) -> str:
    both = pairs.dropna(subset=["published", rate])
    if both.empty:
        return "no measured value has a published counterpart."
    inside = (both["published"] >= both[f"{rate}_low"]) & (both["published"] <= both[f"{rate}_high"])
    width = both[f"{rate}_high"] - both[f"{rate}_low"]
    gap = (both["published"] - both[rate]).abs()
    return (
        f"of {len(both)} measured values with a published counterpart, {int(inside.sum())} have it within their 95 % "
        f"interval; the median difference is {gap.median():.1f} points, the largest {gap.max():.1f}. The intervals are "
        f"{width.min():.0f} to {width.max():.0f} points wide."
    )


def _above_clean(pairs: pd.DataFrame) -> str:
    """In how many rows accuracy under PGD exceeds clean accuracy, published and measured."""
    keys = ["variant", "training", "eps"]
    clean, pgd = (pairs[pairs["attack"] == attack] for attack in ("clean", "pgd"))
    if pgd.empty or clean.empty:
        return ""
    joined = pgd.merge(clean, on=keys, suffixes=("", "_clean"))
    measured = int((joined["robust"] > joined["clean"]).sum())  # of the same images
    known = joined.dropna(subset=["published", "published_clean"])
    printed = int((known["published"] > known["published_clean"]).sum())
    return (
        f"Accuracy under PGD exceeds clean accuracy in {printed} of {len(known)} published rows "
        f"and in {measured} of {len(joined)} measured ones."
    )


def _worst_case(report: Report, dataset: Dataset) -> str:
    """How far the worst case lies below the strongest single attack on the same training at the same epsilon."""
    bounded: dict[tuple[Any, ...], list[Record]] = {}
    for record in report.grid("epsilon", dataset.name):
        if record["attack"] != "clean" and record["eps"] is not None:
            place = record["variant"], record["training"], record["seed"], record["eps"]
            bounded.setdefault(place, []).append(record)
    gaps = [gap for records in bounded.values() for gap in below_single(records)]
    if not gaps:
        return ""
    by = f", by at most {max(gaps):.1f} points" if max(gaps) > 0 else ""
    return (
        f"{attack_name(ENSEMBLE)}: accuracy is lower than under the strongest single attack on the same model at the "
        f"same ε in {sum(gap > 0 for gap in gaps)} of {len(gaps)} rows{by}."
    )


def pruning(report: Report, eps: float) -> Text:
    """How published and measured success rates compare, and how pruning moved accuracy."""
    pairs = compression_pairs(report, eps)
    sentences = []
    for dataset in report.datasets:
        sentences.append(f"{dataset.words}: {_agreement(pairs[pairs['dataset'] == dataset.name], 'asr')}")
        clean = report.attacks("pruning", dataset.name).query("attack == 'clean'")
        rows = clean.query("variant == 'full' and training == 'adversarial'").to_dict("records")
        if len(rows) > 1:
            best = max(rows, key=lambda row: row["clean"])
            start = min(rows, key=lambda row: row["prune_rate"])
            most = (
                f"and at most {in_words(best, 'clean')}, at {100 * best['prune_rate']:.0f} %, n = {best['n']}"
            )
            sentences.append(
                f"{model_label('full', 'adversarial')} on clean images: {in_words(start, 'clean')} at "
                f"{100 * start['prune_rate']:.0f} % pruned, n = {start['n']}, "
                f"{'no less than at any other rate' if best['clean'] == start['clean'] else most}."
            )
    return bullets(sentences)


def confusion(report: Report) -> Text:
    """Accuracy of each model on the clean test split, in words."""
    sentences = []
    for dataset in report.datasets:
        frame = report.attacks("test", dataset.name).query("attack == 'clean'")
        if frame.empty:
            continue
        parts = [
            f"{short_label(row['variant'], row['training'])} {in_words(row, 'clean')}"
            for row in frame.to_dict("records")
        ]
        sentences.append(f"{dataset.words}, n = {frame['n'].iloc[0]}: {'; '.join(parts)}.")
    return bullets(sentences)


def rerun(report: Report, section: str) -> Text:
    """The command that computes the records of one section again and runs its notebook."""
    command = f"meddef reproduce --profile {report.profile} --only {section}"
    return Text(f"```bash\n{command}{' --data-dir DATA' if report.is_real else ''}\n```")


def comparison(report: Report) -> Text:
    """The unpruned full model under its strongest PGD at each ε, one sentence per dataset."""
    sentences = []
    for dataset in report.datasets:
        rows = full_pgd(report, dataset).to_dict("records")
        told = "; ".join(f"{in_words(row, 'asr')} at ε = {row['eps']:g}" for row in rows)
        right = " or ".join(dict.fromkeys(row["right"] for row in rows))
        seeds = max((row["seeds"] for row in rows), default=0)
        if told:
            sentences.append(
                f"{dataset.words}: of the {right} images that the unpruned full model classified correctly, PGD "
                f"succeeds on {told}{f' (means of {seeds} seeds)' if seeds > 1 else ''}."
            )
    return bullets(sentences)


def quotes(*ids: str) -> Text:
    """Quotes from the paper, taken from the ledger of claims: one bullet per claim, with its place."""
    known = {claim["id"]: claim for claim in CLAIMS}
    return Text("\n".join(f"- “{known[name]['quote']}” ({place(known[name]['section'])})" for name in ids))
