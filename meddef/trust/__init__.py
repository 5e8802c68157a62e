"""The part "How far can this be trusted?": pages and figures from the audit's findings and records."""
