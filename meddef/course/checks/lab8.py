"""Lab 8: reading a paper's table."""

from __future__ import annotations

import math
from typing import Any

from meddef.course.answers import Wrong, call, close, exercise, number, rows, truth
from meddef.paper import PROTOCOL, epsilon_table
from meddef.printed import grim
from meddef.statistics import Proportion, Z

TEST = PROTOCOL["datasets"]["chest_xray"]["class_counts"]["test"]


@exercise("lab8.prior")
def prior(student: Any) -> str:
    for counts in (dict(TEST), {"CNV": 30, "DME": 50, "NORMAL": 40}):
        answer = call(student, dict(counts))
        n, largest = sum(counts.values()), max(counts.values())
        if isinstance(answer, str):
            raise Wrong("return a number, in percent; printing it to two decimals comes later.")
        value = number(answer)
        for message, wrong in {
            "this is in [0, 1]. Tables print percent.": largest / n,
            "this is the share of the smallest class. A constant classifier does best with the largest.": 100
            * min(counts.values())
            / n,
            "this is guessing at random, one over the number of classes. Always giving the largest class does better "
            "when classes are unequal.": 100 / len(counts),
            "this is the ratio of two classes. Divide by all images.": 100 * min(counts.values()) / largest,
            "this is guessing in proportion to the classes. Always giving the largest is right more often.": 100
            * sum((k / n) ** 2 for k in counts.values()),
        }.items():
            if close(value, wrong):
                raise Wrong(message)
        if not close(value, 100 * largest / n):
            raise Wrong(
                f"for {counts} you return {value:.2f}. Count how often the largest class is right: {largest} of {n}."
            )
    return f"{100 * max(TEST.values()) / sum(TEST.values()):.2f} % on the paper's chest test set."


@exercise("lab8.prior_cells")
def prior_cells(answer: Any) -> str:
    given = rows(answer, 3)
    printed = f"{100 * max(TEST.values()) / sum(TEST.values()):.2f}"
    table = epsilon_table()
    key = ["variant", "eps", "attack"]
    chest = table[table["dataset"] == "chest_xray"].set_index(key)["printed"]
    right = set(chest.index[chest == printed])
    if given == right:
        return f"{len(right)} cells print {printed} %."
    if not given:
        raise Wrong(f"your list is empty. Compare text with text: `printed` holds '{printed}', not a number.")
    often = str(chest[chest.index.get_level_values("attack") != "clean"].value_counts().index[0])
    if given == set(chest.index[chest == often]):
        raise Wrong(
            f"these cells print {often}, close to the prior {printed} and not it. They are the next exercise's."
        )
    if given == {row for row in right if row[2] != "clean"}:
        raise Wrong("a constant model prints the prior without an attack as well: do not leave out 'clean'.")
    row = min(given - set(chest.index) or given ^ right, key=str)
    if row not in chest.index:
        raise Wrong(f"{row} is no cell of Table 2. Write (variant, eps, attack) as they stand in it.")
    raise Wrong(
        f"{row} prints {chest[row]}, and is {'missing' if row in right else 'in your list'}; the prior is {printed}."
    )


@exercise("lab8.attainable")
def attainable(student: Any) -> str:
    cases = {
        ("72.92", 879): "an ordinary one, 641/879",
        ("72.89", 879): "between 640/879 and 641/879",
        ("66.67", 3): "2/3, rounded up",
        ("66.66", 3): "2/3, truncated",
        ("66.68", 3): "close to 2/3, and too large",
        ("100.00", 968): "all of them",
        ("0.00", 879): "none of them",
        ("99.95", 968): "between 967/968 and all",
        ("12.50", 8): "1/8, exactly",
        ("33.3", 3): "1/3, printed to one decimal",
        ("50.01", 2): "between 1/2 and all",
    }
    for (printed, n), what in cases.items():
        answer, right = truth(call(student, printed, n)), bool(grim.hits(printed, n))
        if answer == right:
            continue
        here = f"'{printed}' % of {n} images ({what}): you say {answer}"
        if printed == "66.66":
            raise Wrong(
                f"{here}. Some authors cut decimals off instead of rounding: give them the benefit of the doubt."
            )
        if printed == "33.3":
            raise Wrong(f"{here}. Use as many decimals as are printed: one, here.")
        if answer:
            raise Wrong(
                f"{here}. Your tolerance is too wide: neighbours are 100/{n} = {100 / n:.3f} points apart."
            )
        raise Wrong(
            f"{here}. Try every k from 0 to n, print 100 k / n to the same number of decimals, and compare the "
            f"texts (or "
            "use whole numbers: floats are off by a hair)."
        )
    return "Rounded or truncated, to as many decimals as are printed."


@exercise("lab8.wilson")
def wilson(student: Any) -> str:
    for hits, n in ((859, 879), (50, 100), (0, 20), (20, 20)):
        answer = call(student, hits, n)
        if not isinstance(answer, list | tuple) or len(answer) != 2:
            raise Wrong("return two numbers, (low, high), each in [0, 1].")
        low, high = (number(value, "an end of your interval") for value in answer)
        right = Proportion(hits, n).interval
        if close(low, right[0], 1e-4) and close(high, right[1], 1e-4):
            continue
        p, here = hits / n, f"for {hits} of {n} you say {low:.4f} to {high:.4f}"
        half = Z * math.sqrt(p * (1 - p) / n)
        if close(low, p - half) and close(high, p + half):
            raise Wrong(
                f"{here}: that is the textbook (Wald) interval. At 0 or n hits it has no width, and near them "
                f"too little. "
                "Use Wilson's."
            )
        if close(low, 100 * right[0]) and close(high, 100 * right[1]):
            raise Wrong(f"{here}: in percent. Return shares.")
        if close(high - low, 2 * (right[1] - right[0])):
            raise Wrong(f"{here}: twice as wide as it should be.")
        narrow = 1.6448536269514722
        middle, spread = p + narrow**2 / (2 * n), narrow * math.sqrt(p * (1 - p) / n + narrow**2 / (4 * n**2))
        if close(low, (middle - spread) / (1 + narrow**2 / n), 1e-4):
            raise Wrong(f"{here}: that is a 90 % interval, with z = 1.645. For 95 %, z = 1.960.")
        if low > high:
            raise Wrong(f"{here}: the low end comes first.")
        raise Wrong(f"{here}; Wilson's interval is {right[0]:.4f} to {right[1]:.4f}.")
    return "It has a width even where every image was right, or none."


@exercise("lab8.smallest_n")
def smallest_n(student: Any) -> str:
    table = epsilon_table()
    chest = table[(table["dataset"] == "chest_xray") & (table["variant"] == "no_afd")]["printed"]
    for values in (["50.00", "33.33", "12.50"], list(dict.fromkeys(chest))):
        answer = number(call(student, list(values)))
        right = grim.smallest_n(values)
        if answer == right:
            continue
        here = f"for {values[:4]}{' …' if len(values) > 4 else ''} you say {answer:g}"
        if answer < grim.SMALLEST:
            raise Wrong(f"{here}. Small sizes fit by chance or by being whole: begin at {grim.SMALLEST}.")
        size = int(answer)
        fits = [value for value in values if grim.hits(value, size)]
        if len(fits) < len(values):
            missing = next(value for value in values if value not in fits)
            raise Wrong(f"{here}: {missing} % is no k/{size}. *All* values must fit one size.")
        raise Wrong(f"{here}: that size fits, but it is not the smallest from {grim.SMALLEST} on.")
    return (
        f"{chest.nunique()} accuracies of the model without AFD on chest X-rays fit {right} images, and "
        "no smaller set."
    )
