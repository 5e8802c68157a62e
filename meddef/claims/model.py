"""A claim of the paper as data: its words, and the checks that decide it.

A claim holds if all of its checks do. A check states what is compared, not how: ``meddef.claims.cells`` writes it out
into comparisons, and the same comparisons are judged by what the paper prints and by what was measured.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from meddef.catalogue import DEFENDED, PUBLISHED_ATTACKS
from meddef.paper import PROTOCOL

Metric = Literal["clean", "robust", "asr"]
Rule = Literal["every", "some", "most"]
Side = Literal["printed", "measured"]
ATTACKS = PUBLISHED_ATTACKS
DATASETS = ("roct", "chest_xray")
WORST = "worst"  # each image after all attacks that were run at its ε on this model; the paper prints none
PAPER_SIZE = int(PROTOCOL["preprocessing"]["image_size"])  # pixels per side
EPS = float(PROTOCOL["attacks"]["pgd"]["eps"])
GRID = tuple(float(eps) for eps in PROTOCOL["attacks"]["eps_grid"])
RATES = tuple(round(0.1 * step, 1) for step in range(9))
GROUPS = {
    "defended": DEFENDED,
    "partial": DEFENDED[:-1],
    "others": ("resnet18", *DEFENDED[:-1]),
    "all": ("resnet18", *DEFENDED),
}
# Components in the order in which the variants lose them: full, w/o AFD, w/o AFD+MFE, w/o AFD+MFE+MSF.
REMOVALS = {
    "AFD": ("full", "no_afd"),
    "MFE": ("no_afd", "no_afd_mfe"),
    "MSF": ("no_afd_mfe", "no_afd_mfe_msf"),
}
ALONE = ("afd_only", "mfe_only", "no_afd_mfe")  # each component by itself


class Data(BaseModel):
    """Immutable; a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(Data):
    """Base of all checks. ``only``: the one side on which the check can be made ("rivals": measurements where other
    methods were trained too); ``rule``: how many must hold."""

    only: Side | Literal["rivals"] | None = None
    rule: Rule = "every"
    datasets: tuple[str, ...] = DATASETS


class Condition(Check):
    """The attacks, budgets and pruning rates of a check; none for clean accuracy."""

    metrics: tuple[Metric, ...] = ("robust",)
    attacks: tuple[str, ...] = ATTACKS
    eps: tuple[float, ...] = GRID
    rates: tuple[float, ...] = (0.0,)

    @field_validator("metrics", "attacks", "eps", "rates", "datasets", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One value may be written without brackets, all nine rates as "all"."""
        return RATES if value == "all" else value if isinstance(value, list | tuple) else [value]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _models(names: Any) -> list[str]:
    """Models, one without brackets, of the groups in ``GROUPS`` by their names."""
    return [model for name in _listed(names) for model in GROUPS.get(name, (name,))]


class Ordering(Condition):
    """Of each pair (better, than) the first has more accuracy, or less attack success.

    Models are named "full", trained as the paper trains them, or "full/clean". ``says`` "no_lower": it need not have
    more, only not less. Equal printed numbers count for the claim, but under the rules "some" and "most", which look
    for one that is higher. Instead of pairs, ``better`` and ``than`` give each of the one with each of the other, and
    ``steps`` the models with and without each component.
    """

    kind: Literal["ordering"]
    pairs: tuple[tuple[str, str], ...]
    says: Literal["higher", "no_lower"] = "higher"

    @model_validator(mode="before")
    @classmethod
    def _paired(cls, data: Any) -> Any:
        given = dict(data)
        if "steps" in given:
            given["pairs"] = [REMOVALS[name] for name in given.pop("steps")]
        elif "better" in given:
            given["pairs"] = list(product(_models(given.pop("better")), _models(given.pop("than"))))
        return given


class Trend(Condition):
    """How accuracy or attack success of each of ``variants`` changes from one end of an axis to others.

    ``direction`` "stable": by no more than the margin of equivalence, so that only a change that is shown to be larger
    contradicts it; "no_higher" and "no_lower": a change the other way is allowed. ``than``: the change of each variant
    is compared with that of this one, "falls" meaning by less. ``beyond_chance``: a printed change must exceed what two
    samples of the test set differ by.
    """

    kind: Literal["trend"]
    variants: Annotated[tuple[str, ...], BeforeValidator(_models)]
    along: Literal["eps", "rate", "attack"]
    start: float | str
    to: Annotated[tuple[float | str, ...], BeforeValidator(_listed)]
    direction: Literal["falls", "rises", "no_higher", "no_lower", "stable"]
    than: str | None = None
    beyond_chance: bool = False


class Largest(Condition):
    """Removing one component costs more than removing each of the others, on average over the conditions."""

    kind: Literal["largest"]
    component: Literal["AFD", "MFE", "MSF"]


class Synergy(Condition):
    """The full model gains more over the one without any component than its three components gain alone, together."""

    kind: Literal["synergy"]
    only: Side | None = "measured"  # no table holds AFD alone or MFE alone


class Bound(Condition):
    """Values lie above ``low``, below ``high`` or within 10 points of ``near``, in percent.

    "constant" is the largest class's share.
    """

    kind: Literal["bound"]
    variants: Annotated[tuple[str, ...], BeforeValidator(_models)]
    low: float | Literal["constant"] | None = None
    high: float | Literal["constant"] | None = None
    near: float | None = None
    strict: bool = False


class Value(Data):
    """A printed number and the cell that it is said of; ``label``: accuracy on the images of one class alone."""

    value: str
    variant: str
    dataset: str
    metric: Metric = "clean"
    attack: str = "clean"
    eps: float = EPS
    rate: float = 0.0
    label: str | None = None
    minus: str | None = None  # a second model: the value is the difference


class Values(Check):
    """Printed numbers."""

    kind: Literal["values"]
    values: tuple[Value, ...]


class Fact(Check):
    """Something counted or stated; ``meddef.claims.facts`` has a function of this name for each side that knows it."""

    kind: Literal["fact"]
    fact: str
    given: dict[str, Any] = {}


class Probe(Check):
    """A probe's measurement (``meddef.probes``), one number per image: its mean lies within bounds, or exceeds another
    model's on the same images.

    Attributes:
        measures: names of numbers of the probe, each a comparison.
        over: what each is divided by, image by image, means being geometric; ``minus``: what is subtracted.
        model: as in ``Ordering``; ``than``: the model that it is compared with, of numbers that are 0 or 1.
        low, high: bounds of the mean.
        at_paper_size: smaller images decide nothing.
    """

    kind: Literal["probe"]
    only: Side | None = "measured"
    probe: str
    measures: tuple[str, ...]
    over: str | None = None
    minus: str | None = None
    model: str = "full"
    than: str | None = None
    low: float | None = None
    high: float | None = None
    at_paper_size: bool = False


class Setting(Check):
    """How something was done: followed or not. ``setting`` names it in ``meddef.claims.settings``."""

    kind: Literal["setting"]
    setting: str
    given: dict[str, Any] = {}


AnyCheck = Annotated[
    Ordering | Trend | Largest | Synergy | Bound | Values | Fact | Probe | Setting,
    Field(discriminator="kind"),
]
Unjudged = Literal["picture", "other work", "arrangement", "printed table"]


class Claim(Data):
    """One entry of the ledger.

    Attributes:
        kind: value, difference, ordering, range, count, method or property.
        values: the numbers in the quote as printed; ``accuracy_on``: of which datasets they are accuracies.
        check: what decides it; all must hold.
        same_as: the claim that this one repeats; it counts once.
        unjudged: what it is about, where no run can judge it.
        run: what would have to be run to judge it, where that was not.
        by_construction: true of this companion because it was built so, which no run confirms.
        both_datasets: it is said of both datasets, so one of them alone does not reproduce it.
        on_phantoms: it speaks of lesions, which are known of no image of the paper's: phantoms show what they show, and
            decide nothing.
        note: what else would explain numbers that contradict it.
    """

    id: str
    section: str
    kind: Literal["value", "difference", "ordering", "range", "count", "method", "property"]
    quote: str
    about: str
    values: dict[str, str] = {}
    accuracy_on: tuple[str, ...] = ()
    check: tuple[AnyCheck, ...] = ()
    same_as: str | None = None
    unjudged: Unjudged | None = None
    run: str | None = None
    by_construction: bool = False
    both_datasets: bool = False
    on_phantoms: bool = False
    note: str = ""

    @property
    def is_setting(self) -> bool:
        """Whether it says how something was done, and nothing that could be true or false of a result."""
        return bool(self.check) and all(check.kind == "setting" for check in self.check)
