"""The paper's claims, judged by what it prints and by what was measured. No torch here.

``rows(reports)`` gives both verdicts on every claim, ``score(rows)`` how many claims have each. Modules: ``model`` (a
claim and its checks), ``cells`` (checks written out into comparisons), ``printed`` and ``measured`` (two sources that
judge comparisons), ``facts_printed``, ``facts_measured`` and ``settings`` (what is no comparison), ``rules`` (from
comparisons to a verdict), ``ledger`` (one claim from one side), ``verdicts`` (over all profiles).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddef.claims.verdicts import rows, score

__all__ = ["rows", "score"]


def __getattr__(name: str) -> Any:
    """Imported on first use: ``meddef.audit``, which ``verdicts`` reads, reads this package too."""
    if name in __all__:
        from meddef.claims import verdicts

        return getattr(verdicts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
