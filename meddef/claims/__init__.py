"""The paper's claims, judged by what it prints and by what was measured. No torch here.

``model`` (a claim and its checks), ``cells`` (checks written out into comparisons), ``printed`` and ``measured`` (two
sources that judge comparisons), ``facts_printed``, ``facts_measured`` and ``settings`` (what is no comparison),
``rules`` (from comparisons to a verdict), ``ledger`` and ``score`` (from claims to rows and counts).
"""
