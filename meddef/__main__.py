"""``python -m meddef``: the command line."""

from meddef.cli import main

main()
