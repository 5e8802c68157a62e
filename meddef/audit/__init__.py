"""How far the published numbers can be trusted: arithmetic on what the paper prints (`findings`), without torch."""

from meddef.audit.finding import Finding, Verdict
from meddef.audit.numbers import decided_by, findings
from meddef.audit.published import Published

__all__ = ["Finding", "Published", "Verdict", "decided_by", "findings"]
