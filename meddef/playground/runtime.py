"""onnxruntime-web for the book: one pinned release from the npm registry, checked, packed into one script."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from urllib.request import urlopen

from meddef.atomic import write_text
from meddef.errors import RunFailed

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the release, as the registry's own records and lock files write it."""
FILES = {
    "module": "package/dist/ort.wasm.bundle.min.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}
LICENCE = "MIT licence, Copyright (c) Microsoft Corporation, https://github.com/microsoft/onnxruntime"
TIMEOUT = 20  # seconds without an answer


class NoRuntime(RunFailed):
    """The registry cannot be reached, or what it sent is not the pinned release."""


def provide(path: Path) -> None:
    """Make ``path``, a script that sets ``MEDDEF_ONNXRUNTIME``, unless it is there already for this release.

    A download of 33 MB, of which 5 MB are kept. ``npm_config_registry`` in the environment names another registry.

    Raises:
        NoRuntime: with the reason; nothing is written.
    """
    head = f"/* {PACKAGE} {VERSION}, {LICENCE} */\n"
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            if file.readline() == head:
                return
    release = _checked(_download())
    with tarfile.open(fileobj=io.BytesIO(release), mode="r:gz") as archive:
        packed = {name: _pack(archive, member) for name, member in FILES.items()}
    write_text(path, f"{head}globalThis.MEDDEF_ONNXRUNTIME = {json.dumps(packed)};\n")


def _download() -> bytes:
    registry = os.environ.get("npm_config_registry")  # noqa: SIM112, npm's own name
    registry = registry or "https://registry.npmjs.org"
    url = f"{registry.rstrip('/')}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            return answer.read()
    except (OSError, ValueError) as error:
        raise NoRuntime(f"{url} cannot be had ({error})") from error


def _checked(release: bytes) -> bytes:
    found = base64.b64encode(hashlib.sha512(release).digest()).decode()
    if found != INTEGRITY:
        raise NoRuntime(f"{PACKAGE} {VERSION} from the registry is not the pinned release (sha512-{found})")
    return release


def _pack(archive: tarfile.TarFile, member: str) -> str:
    """A file of the release, compressed, in base64."""
    file = archive.extractfile(member)
    assert file is not None
    return base64.b64encode(gzip.compress(file.read(), mtime=0)).decode()
