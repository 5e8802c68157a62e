"""The how-to shows what its commands print."""

from pathlib import Path

from howto_outputs import PAGE, printed, words


def test_the_howto_shows_what_its_commands_print(tmp_path: Path) -> None:
    for example, text in printed(PAGE.read_text(encoding="utf-8"), tmp_path):
        remedy = "run 'python tests/howto_outputs.py'"
        assert words(text) == words(example.shown), f"{example.commands[-1]}: {remedy}"
