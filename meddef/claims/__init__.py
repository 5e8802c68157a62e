"""The paper's claims, judged by its printed numbers and by measurements.

``verdicts.rows(reports)`` gives both verdicts on every claim, ``verdicts.score(rows)`` how many claims have each.
Modules: ``model`` (a claim and its checks), ``entries`` (the claims as they are written down), ``cells`` (checks
written out into comparisons), ``printed`` and ``measured`` (two sources that judge comparisons), ``facts_printed``,
``facts_measured``, ``facts_bench`` and ``settings`` (what is no comparison), ``rules`` (from comparisons to a
verdict), ``ledger`` (one claim from one side), ``verdicts`` (over all profiles), ``page`` (the page of all claims).
"""
