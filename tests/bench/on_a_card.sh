#!/bin/sh
# Everything that needs a GPU, in about eight minutes of it: tests, then the bench of recorded steps.
#   tests/bench/on_a_card.sh [FOLDER]     PYTHON=... names another interpreter, PEERS=... where torchattacks lies
# Results are written as they come: FOLDER/gpu_tests.txt, FOLDER/gpu_targets.json, FOLDER/gpu_targets.txt.
set -u
cd "$(dirname "$0")/../.." || exit 1
folder=${1:-results/bench}
python=${PYTHON:-.venv/bin/python}
[ -x "$(command -v "$python")" ] || python=python3
mkdir -p "$folder"
export PYTHONPATH="$PWD:${PEERS:-.bench}${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
timeout 200 "$python" -m pytest tests/test_gpu_capture.py tests/test_gpu.py -q -p no:cacheprovider --durations=10 \
    >"$folder/gpu_tests.txt" 2>&1
tests=$?
tail -n 40 "$folder/gpu_tests.txt"
timeout 290 "$python" -m tests.bench.bench_card "$folder" 2>&1 | tee "$folder/gpu_targets.txt"
exit $tests
