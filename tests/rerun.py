"""Recompute one recorded cell from its images, and compare the record bit for bit.

    python -m tests.rerun --profile cpu --key 0b1c... --data-dir DATA

The code is that of the commit which the cell's provenance names, unpacked into a folder of its own (``--here`` takes
this checkout instead). The model is trained again, then attacked. Use the versions that the provenance names, and
hardware of the same kind: float sums may differ on others. A cell computed with AVX2 is computed again with AVX2, on a
processor that has AVX-512 too. Without ``--key``, the keys of the profile are listed.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from meddef.records import Record, load_provenance, load_records

ROOT = Path(__file__).parents[1]
AS_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4",
    "OPENCV_CPU_DISABLE": "AVX512F,AVX512-COMMON,AVX512-SKX,AVX512-CNL,AVX512-CLX,AVX512-ICL",
}
"""What makes torch, oneDNN, MKL, NumPy and OpenCV leave AVX-512 alone, so that sums are those of an AVX2 processor."""
COMPUTE = """
import json, sys
from pathlib import Path
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import run_plan
from meddef.settings import load_profile

profile, key, folder, data_dir, device = sys.argv[1:]
options = RunOptions(Path(folder), Path(data_dir) if data_dir else None, device)
plan = make_plan(load_profile(profile), options)
wanted = [cell for cell in plan.cells if cell.key == key]
if not wanted:
    sys.exit(f"the plan of '{profile}' has no cell {key}: other images, settings or code than those it was made with")
cells = tuple(cell for cell in plan.cells if cell.key in (key, wanted[0].needs))
records = run_plan(Plan(plan.profile, cells), options, InlineExecutor(), inside=True, export=False)
print(json.dumps([record for record in records if record["key"] == key]))
"""


def unpack(commit: str, folder: Path) -> Path:
    """The repository as it was at ``commit``."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def compute(code: Path, profile: str, key: str, folder: Path, data_dir: str, origin: Record) -> list[Record]:
    """The records of the cell ``key``, and of nothing that was computed before; ``origin`` is its provenance."""
    command = [sys.executable, "-c", COMPUTE, profile, key, str(folder), data_dir, origin["device"]]
    kept = {"PYTHONPATH": str(code), "MEDDEF_CACHE_DIR": str(folder / "cache")}
    environment = os.environ | kept | limits(origin)
    done = subprocess.run(command, cwd=code, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    found: list[Record] = json.loads(done.stdout.splitlines()[-1])
    return found


def limits(origin: Record) -> dict[str, str]:
    """The environment that computes with the instructions of the recorded cell."""
    return AS_AVX2 if origin["hardware"].get("instructions") == "AVX2" else {}


def differences(published: list[Record], again: list[Record]) -> list[str]:
    """A line for each field that is not the same, bit for bit."""
    if len(published) != len(again):
        return [f"{len(published)} records published, {len(again)} computed"]
    return [
        f"{name}: published {_short(old.get(name))}, computed {_short(new.get(name))}"
        for old, new in zip(published, again, strict=True)
        for name in sorted({*old, *new})
        if json.dumps(old.get(name), sort_keys=True) != json.dumps(new.get(name), sort_keys=True)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def main(arguments: list[str] | None = None) -> None:
    """Exit code 0 where every field is the same, 1 where one is not or the cell cannot be computed."""
    parser = argparse.ArgumentParser(prog="python -m tests.rerun")
    parser.add_argument("--profile", default="cpu", help="its name, or a path to a YAML file")
    parser.add_argument("--key", help="of the recorded cell")
    parser.add_argument("--data-dir", default=os.environ.get("MEDDEF_DATA_DIR", ""))
    parser.add_argument("--results-dir", type=Path, default=ROOT / "results")
    parser.add_argument("--here", action="store_true", help="take the code of this checkout")
    given = parser.parse_args(arguments)
    name = Path(given.profile).stem
    records = load_records(given.results_dir, name)
    if given.key is None:
        for record in records:
            labels = (record.get(part) for part in ("variant", "training", "seed", "grid", "attack", "eps"))
            print(record["key"], record["kind"], record["dataset"], *(v for v in labels if v is not None))
        return
    published = [record for record in records if record["key"] == given.key]
    origin = {row["key"]: row for row in load_provenance(given.results_dir, name)}.get(given.key)
    if origin is None:
        sys.exit(f"no cell {given.key} is recorded for '{name}': leave out --key for a list")
    print(f"{given.key}: commit {origin['commit']}{' with local changes' if origin['dirty'] else ''}")
    data_dir = str(Path(given.data_dir).resolve()) if given.data_dir else ""
    with tempfile.TemporaryDirectory() as folder:
        code = ROOT if given.here else unpack(origin["commit"], Path(folder) / "code")
        runs = Path(folder) / "runs"
        again = compute(code, given.profile, given.key, runs, data_dir, origin)
    found = differences(published, again)
    print("\n".join(found) or "the same, bit for bit")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
