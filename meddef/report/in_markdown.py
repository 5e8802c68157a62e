"""Words that come from records (a dataset's title, a processor's name, a class), in Markdown: never markup."""

from __future__ import annotations

import re

_MARKUP = re.compile(
    r"[\\`*\[\]<>|$~{}]"  # wherever they stand
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # between letters and digits it is none
    r"|&(?=#?\w+;)|:(?=//|[a-z]+:)|(?<=\w)[.@](?=[A-Za-z])"  # entities; roles and addresses, which become links
    r"|^(?:[#+=:%(-]|\d+(?=[.)]\s))"  # what begins a heading, list, fence, comment or target
)


def in_markdown(words: str) -> str:
    """``words`` on one line, shown in Markdown as they are.

    >>> print(in_markdown("Eyes <macula> at 2.60GHz"))
    Eyes \\\\<macula\\\\> at 2.60GHz

    Source: CommonMark 0.31, section 2.4: a backslash before ASCII punctuation makes it text.
    """
    line = " ".join(words.split())
    return _MARKUP.sub(lambda found: f"\\{found[0]}" if not found[0].isdigit() else _number(found[0]), line)


def _number(digits: str) -> str:
    """Digits that begin no list: the first as an entity, as a backslash has no effect before it."""
    return f"&#{ord(digits[0])};{digits[1:]}"
