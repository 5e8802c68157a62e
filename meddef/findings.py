"""Sentences whose numbers are computed from records: what was run, and what follows. No torch here."""

from __future__ import annotations

import pandas as pd

from meddef.ablation import STEPS, comparisons
from meddef.display import NOTHING, Text, place
from meddef.paper import CLAIMS
from meddef.report import Dataset, Report, model_label, short_label
from meddef.style import attack_name
from meddef.tables import compression_pairs, epsilon_pairs
from meddef.tables_setup import circumstances

PHANTOM_NOTE = (
    "Stand-ins are not the paper's data: here the comparison shows how the method behaves, "
    "not whether the paper's numbers hold."
)


def scope(report: Report) -> Text:
    """Profile, data, models, n, where it was computed: the first thing each page says."""
    data = "; ".join(f"{d.label}, n = {d.size('test'):,} test images" for d in report.datasets)
    seeds = sorted({record["seed"] for record in report.of("train")})
    models = (
        f"{len(report.models())} models, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}, "
    )
    where = circumstances(report.provenance)
    stand_in = f" {PHANTOM_NOTE}" if any(d.stands_in for d in report.datasets) else ""
    return Text(
        f"**Profile `{report.profile}`.** {data}. {report.missing()}{models if seeds else ''}"
        f"{where['computing time']} of computing "
        f"on {_flat(where['hardware'])} ({_flat(where['device'])}), commit {_flat(where['git commit'])}.{stand_in}"
    )


def _flat(cell: str) -> str:
    return cell.replace("\n", "; ")


def data(report: Report) -> Text:
    """Sizes of the splits beside the paper's, and repeated images."""
    sentences = []
    for dataset in report.datasets:
        removed = len(dataset.record["report"].get("removed_from_training", []))
        sizes = " / ".join(f"{dataset.size(split):,}" for split in ("train", "val", "test"))
        sentences.append(
            f"{dataset.label}: {sizes} images for training / validation / test, "
            f"{removed} training images left out because they repeat another image."
        )
    return _bullets(sentences)


def training(report: Report) -> Text:
    """How far the validation accuracy of clean and adversarial training lies apart."""
    sentences = []
    for dataset in report.datasets:
        best = [(r, r["history"][r["best_epoch"]]) for r in report.of("train", dataset.name)]
        eased = sum(min(row["ease"] for row in record["history"]) < 1 for record, _ in best)
        attacked = [row["val_adversarial"] for _, row in best if row["val_adversarial"] is not None]
        sentence = f"{dataset.label}: validation accuracy without attack is {_range(r['val_clean'] for _, r in best)}"
        if attacked:
            sentence += f", under PGD {_range(attacked)} for the adversarially trained models"
        sentences.append(f"{sentence}; the easing rule acted in {eased} of {len(best)} runs.")
    return _bullets(sentences)


def _range(values: object) -> str:
    found = [100 * value for value in values]  # type: ignore[attr-defined]
    low, high = min(found), max(found)
    return f"{low:.1f} %" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} %"


def ablation(report: Report, eps: float) -> Text:
    """How many of the paired differences could be chance, and the largest one."""
    sentences = []
    for dataset in report.datasets:
        found = {
            (step, attack): total
            for step in STEPS
            for attack, total in comparisons(report, dataset, step, eps).items()
        }
        if not found:
            sentences.append(f"{dataset.label}: the models of the ablation were not all trained.")
            continue
        clear = [key for key, total in found.items() if total.p_value < 0.05 / len(found)]
        step, attack = max(found, key=lambda key: abs(found[key].difference))
        sentences.append(
            f"{dataset.label}: {len(clear)} of {len(found)} paired differences are clear at 5 % after Bonferroni's "
            f"correction. The largest is {step} under {attack_name(attack)}: "
            f"{found[step, attack].difference:+.1f} points on n = {found[step, attack].n}."
        )
    return _bullets(sentences)


def epsilon(report: Report) -> Text:
    """How published and measured accuracies compare, and which attack is the strongest in each."""
    pairs = epsilon_pairs(report)
    sentences = []
    for dataset in report.datasets:
        ours = pairs[pairs["dataset"] == dataset.name]
        sentences.append(f"{dataset.label}: {_agreement(ours, 'robust')}")
        sentences.append(_above_clean(ours))
    return _bullets([sentence for sentence in sentences if sentence])


def _agreement(pairs: pd.DataFrame, rate: str) -> str:
    both = pairs.dropna(subset=["published", rate])
    if both.empty:
        return "no measured value has a published twin."
    inside = (both["published"] >= both[f"{rate}_low"]) & (both["published"] <= both[f"{rate}_high"])
    gap = (both["published"] - both[rate]).abs()
    return (
        f"of {len(both)} measured values with a published twin, {int(inside.sum())} have it within their 95 % "
        f"interval; the median difference is {gap.median():.1f} points, the largest {gap.max():.1f}."
    )


def _above_clean(pairs: pd.DataFrame) -> str:
    """In how many rows accuracy under PGD exceeds accuracy without attack, published and measured."""
    keys = ["variant", "training", "eps"]
    clean = pairs[pairs["attack"] == "clean"].set_index(keys)
    pgd = pairs[pairs["attack"] == "pgd"].set_index(keys)
    if pgd.empty or clean.empty:
        return ""
    joined = pgd.join(clean, rsuffix="_clean")
    measured = int((joined["robust"] > joined["robust_clean"]).sum())
    known = joined.dropna(subset=["published", "published_clean"])
    printed = int((known["published"] > known["published_clean"]).sum())
    return (
        f"Accuracy under PGD lies above accuracy without attack in {printed} of {len(known)} published rows "
        f"and in {measured} of {len(joined)} measured ones."
    )


def pruning(report: Report, eps: float) -> Text:
    """How published and measured success rates compare, and how pruning moved accuracy."""
    pairs = compression_pairs(report, eps)
    sentences = []
    for dataset in report.datasets:
        sentences.append(f"{dataset.label}: {_agreement(pairs[pairs['dataset'] == dataset.name], 'asr')}")
        clean = report.attacks("pruning", dataset.name).query("attack == 'clean'")
        for (variant, training_kind), rows in clean.groupby(["variant", "training"], sort=False):
            if variant == "full" and len(rows) > 1:
                best = max(rows.to_dict("records"), key=lambda row: row["clean"])
                start = min(rows.to_dict("records"), key=lambda row: row["prune_rate"])
                sentences.append(
                    f"{model_label(str(variant), str(training_kind))} is most accurate without attack at "
                    f"{best['prune_rate']:.0%} pruned ({best['clean']:.1f} %, "
                    f"interval {best['clean_low']:.1f} to {best['clean_high']:.1f}; "
                    f"{start['clean']:.1f} % unpruned, n = {best['n']})."
                )
    return _bullets(sentences)


def confusion(report: Report) -> Text:
    """Accuracy of each model on the clean test split, in words."""
    sentences = []
    for dataset in report.datasets:
        frame = report.attacks("test", dataset.name).query("attack == 'clean'")
        if frame.empty:
            continue
        parts = [
            f"{short_label(row['variant'], row['training'])} {row['clean']:.1f} % "
            f"[{row['clean_low']:.1f}, {row['clean_high']:.1f}]"
            for row in frame.to_dict("records")
        ]
        sentences.append(f"{dataset.label}, n = {frame['n'].iloc[0]}: {'; '.join(parts)}.")
    return _bullets(sentences)


def saliency(report: Report) -> Text:
    """Which model's heat lies most in the lesion, and whether it is more than its area would give."""
    sentences = []
    for dataset in report.datasets:
        records = report.of("saliency", dataset.name)
        if not records:
            sentences.append(f"{dataset.label}: no saliency was measured, since no lesion masks are known.")
            continue
        shares = {}
        for record in records:
            images = pd.DataFrame(record["images"])
            gain = images["energy_in_lesion"].mean() / images["lesion_share"].mean()
            shares[short_label(record["variant"], record["training"])] = gain
        order = sorted(shares, key=lambda name: shares[name], reverse=True)
        sentences.append(
            f"{dataset.label}, n = {records[0]['n']} images: heat in the lesion over the lesion's area, "
            f"from most to least: {', '.join(f'{name} {shares[name]:.1f}' for name in order)} (1 is chance)."
        )
    return _bullets(sentences)


def strongest(report: Report, dataset: Dataset, eps: float) -> str:
    """Accuracy of the full model under the attack that leaves least of it, in a sentence; empty without records."""
    pairs = epsilon_pairs(report)
    ours = pairs[(pairs["dataset"] == dataset.name) & (pairs["eps"] == eps) & (pairs["attack"] != "clean")]
    lines = []
    for (variant, training_kind), rows in ours.groupby(["variant", "training"], sort=False):
        if variant in ("resnet18", "full"):
            worst = min(rows.to_dict("records"), key=lambda row: row["robust"])
            lines.append(
                f"{model_label(str(variant), str(training_kind))} keeps {worst['robust']:.1f} % "
                f"[{worst['robust_low']:.1f}, {worst['robust_high']:.1f}] under {attack_name(worst['attack'])}"
            )
    return f"At ε = {eps:g}, {' and '.join(lines)} (n = {ours['n'].iloc[0]})." if lines else ""


def _bullets(sentences: list[str]) -> Text:
    return Text("\n".join(f"- {sentence}" for sentence in sentences) or NOTHING)


def rerun(report: Report, section: str) -> Text:
    """The command that computes the records of one section again and runs its notebook."""
    command = f"meddef reproduce --profile {report.profile} --only {section}"
    return Text(f"```bash\n{command}{' --data-dir DATA' if report.is_real else ''}\n```")


def comparison(report: Report) -> Text:
    """Published and measured PGD success rate of the full model, in words."""
    frame = report.attacks("pruning")
    rows = frame[(frame["variant"] == "full") & (frame["attack"] == "pgd") & (frame["prune_rate"] == 0)]
    sentences = []
    for dataset in report.datasets:
        for row in rows[rows["dataset"] == dataset.name].to_dict("records"):
            sentences.append(
                f"{dataset.label}: PGD at ε = {row['eps']:g} succeeds on {row['asr']:.1f} % of the images "
                f"that the unpruned full model had right, interval {row['asr_low']:.1f} to {row['asr_high']:.1f}, "
                f"n = {row['n']}."
            )
    return _bullets(sentences)


def quotes(*ids: str) -> Text:
    """What the paper says, in its words, from the ledger of claims: a bullet a claim, with its place."""
    known = {claim["id"]: claim for claim in CLAIMS}
    return Text("\n".join(f"- “{known[name]['quote']}” ({place(known[name]['section'])})" for name in ids))
