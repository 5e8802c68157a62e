"""The book's part "How far can this be trusted?": pages from the findings and the laboratory's records."""

from __future__ import annotations

from pathlib import Path

from meddef.trust.arithmetic import arithmetic_page, code_page, found_in
from meddef.trust.laboratory import laboratory_page
from meddef.trust.paper import paper_page
from meddef.trust.robustness import robustness_page

CAPTION = "How far can this be trusted?"
PAGES = ("trust_arithmetic", "trust_laboratory", "trust_robustness", "trust_paper", "trust_code")


def trust_pages(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; pages say so where the laboratory was not run."""
    pages = arithmetic_page(root) | laboratory_page(root) | robustness_page(root)
    return pages | paper_page(found_in(root)) | code_page(root)
