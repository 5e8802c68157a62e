"""Every page of a built book in one headless Chromium: axe-core in both themes, and what does not fit the window.

A harness page loads each page in a frame as wide as a laptop's or a telephone's window, and posts what it found.
"""

import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
AXE = "4.14.1"
WIDTHS = (1280, 420)
WAIT = 1800  # seconds for all pages; a loaded machine takes many times the minutes of an idle one

HARNESS = Path(__file__).with_name("check_pages.html")


def axe_source() -> bytes:
    """The script of axe-core, fetched once with npm into the ignored ``_build/axe``; skips where that cannot be had."""
    script = ROOT / "_build" / "axe" / f"axe-{AXE}.min.js"
    if script.is_file():
        return script.read_bytes()
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, to fetch axe-core")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"axe-core@{AXE}", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip("axe-core could not be fetched from the npm registry")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            source = member.read()
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_bytes(source)
    return source


def check_pages(
    folder: Path, pages: list[str], axe: bytes, *, skip: tuple[str, ...] = ()
) -> dict[str, list[str]]:
    """Page -> what is wrong with it: violations that axe names in either theme, and what is wider than the window."""
    report: dict[str, list[str]] = {}
    arrived = threading.Event()
    settings = json.dumps({"PAGES": [f"/{page}" for page in pages], "WIDTHS": WIDTHS, "SKIP": skip})
    harness = HARNESS.read_text(encoding="utf-8").replace("SETTINGS", settings)
    extra = {"/__check.html": harness.encode(), "/__axe.js": axe}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in extra:
                return super().do_GET()
            kind = (
                "text/html; charset=utf-8"
                if self.path.endswith(".html")
                else "text/javascript; charset=utf-8"
            )
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(extra[self.path])
            return None

        def do_POST(self) -> None:
            report.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with chromium(f"http://127.0.0.1:{server.server_port}/__check.html"):
            assert arrived.wait(WAIT), "the browser did not finish"
        server.shutdown()
    return {page.removeprefix("/"): found for page, found in report.items()}


@contextlib.contextmanager
def chromium(address: str, *flags: str) -> Iterator[Any]:
    """A browser with ``address`` open, ended afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            str(CHROMIUM),
            *FLAGS,
            "--window-size=1400,1000",
            f"--user-data-dir={profile}",
            *flags,
            address,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)
