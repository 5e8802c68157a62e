"""The policy of the finished book: a page loads its own files and nothing else."""

from pathlib import Path

from meddef.book.content_policy import POLICY, RULES, protect_pages, protected


def test_the_policy_comes_first_in_the_head_of_every_page(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("index.html", "deep/page.html"):
        (tmp_path / name).write_text("<!DOCTYPE html><html><HEAD lang='en'><title>a</title></HEAD></html>")
    protect_pages(tmp_path)
    for page in tmp_path.rglob("*.html"):
        head = page.read_text(encoding="utf-8").partition("<HEAD lang='en'>")[2]
        assert head.startswith(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>')
    assert protected("<p>no page") == "<p>no page"


def test_nothing_outside_the_book_is_allowed() -> None:
    assert RULES["default-src"] == RULES["base-uri"] == "'none'"
    for sources in RULES.values():
        assert not {"*", "http:", "https:", "'unsafe-eval'"} & set(sources.split())
    assert '"' not in POLICY
