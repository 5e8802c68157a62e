"""The process of the submissions in namespaces of its own, by util-linux's ``unshare``: no root, no daemon.

What runs inside sees the interpreter, its libraries and this package, all read-only, and one folder in memory to
write. It sees no process, file, network or shared memory of the account that grades, and it has no capability to
change that. Everything inside ends with the first process inside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = "/submission"
HOME_MB = 256
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PROBE_SECONDS = 30
_NAMESPACES = (
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--net",
    "--ipc",
    "--uts",
)
_SEEN = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/passwd",
    "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/sys/devices/system/cpu",
)  # fmt: skip
_PROBE = """
from importlib.util import find_spec
absent = [name for name in ("torch", "pandas", "matplotlib", "IPython", "safetensors") if find_spec(name) is None]
raise SystemExit(f"{', '.join(absent)} not found inside" if absent else 0)
"""
# a root of its own on an empty folder: links as they are, other paths bound, then everything but HOME read-only
_SETUP = f"""
set -eu
root=$1; shift
mount -t tmpfs -o size=4m,mode=755 none "$root"
while [ "$1" != -- ]; do
    mkdir -p "$root${{1%/*}}"
    if [ -L "$1" ] && [ "${{1%/*}}" = "" ]; then cp -P "$1" "$root$1"; shift; continue; fi
    if [ -d "$1" ]; then mkdir -p "$root$1"; else : >"$root$1"; fi
    mount --rbind "$1" "$root$1"
    shift
done
shift
mkdir -p "$root/proc" "$root{HOME}"
echo 0 >/proc/sys/kernel/shmmni 2>/dev/null || true
mount -t proc none "$root/proc"
mount -t tmpfs -o size={HOME_MB}m,nr_inodes=65536,mode=755 none "$root{HOME}"
while read -r _ _ _ _ place _; do
    place=$(printf %b "$place")
    case $place in
        "$root{HOME}") ;;
        "$root" | "$root"/*) mount -o remount,bind,ro "$place" ;;
    esac
done </proc/self/mountinfo
exec chroot "$root" setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


def wrapped(command: list[str], root: Path) -> list[str]:
    """``command`` in namespaces of its own; ``root``: an empty folder, on which the new root is mounted inside."""
    return [
        "unshare",
        *_NAMESPACES,
        "sh",
        "-c",
        _SETUP,
        "sh",
        os.path.realpath(root),
        *_paths(),
        "--",
        *command,
    ]


def _paths() -> list[str]:
    """What a submission sees: parents first, and nothing twice."""
    python = (sys.prefix, sys.exec_prefix, sys.base_prefix, os.path.dirname(sys.executable))
    package = str(Path(__file__).resolve().parents[1])
    wanted = [*_SEEN, *python, *(os.path.realpath(path) for path in python), package]
    wanted.append(os.path.dirname(os.path.realpath(sys.executable)))
    chosen: list[str] = []
    for path in sorted({path for path in wanted if os.path.exists(path) and path != "/"}):
        if not any(path.startswith(parent + os.sep) for parent in chosen if not os.path.islink(parent)):
            chosen.append(path)
    return chosen


def missing(root: Path) -> str:
    """Empty if namespaces can be had here; otherwise the reason why not, in one line."""
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return "no unshare and setpriv of util-linux"
    try:
        tried = subprocess.run(
            wrapped([sys.executable, "-c", _PROBE], root), env={"PATH": PATH}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=PROBE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unshare: {error}"
    return "" if tried.returncode == 0 else " ".join(tried.stderr.split()) or "unshare failed"
