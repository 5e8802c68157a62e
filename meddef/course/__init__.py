"""Eight automatically marked labs on attacks and defences: ``check`` for students, ``kit`` for small models.

The labs are written once, in ``labs/*.md``; ``source`` derives the students' notebooks and the book's pages from
them. The checks of an exercise are in ``checks``; ``grade`` marks a class.
"""

from meddef.course.answers import Wrong, check

__all__ = ["Wrong", "check"]
