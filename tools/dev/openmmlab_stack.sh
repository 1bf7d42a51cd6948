#!/usr/bin/env bash
# Make (or finish) a second environment, of OpenMMLab's own releases on PyTorch 2.1, and run the tests in it.
#
#   tools/dev/openmmlab_stack.sh [VENV]          (.venv-openmmlab)
#
# Every step can be repeated: what is already there is left alone. PYTHON names a Python 3.11, UV_FIND_LINKS=DIR takes
# prebuilt wheels from DIR. docs/stacks.md has the outcome.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${1:-.venv-openmmlab}
lock=requirements/openmmlab-lock.txt

# What depends on the stack: every config, model, data set and training. The other tests need one environment only.
tests=(models checkpoints/test_loading.py datasets engine cli configs)

step() { printf '\n\033[1m[%s] %s\033[0m  (%s s)\n' "$1" "$2" "$SECONDS"; }

step 1/5 "virtual environment and uv"
[ -x "$venv/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$venv"
entries=$("$venv/bin/python" requirements/locked.py --only uv)  # of requirements/lock.txt, with its hashes
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
  --requirement /dev/stdin <<<"$entries"
export VIRTUAL_ENV=$(cd "$venv" && pwd)
uv="$VIRTUAL_ENV/bin/uv"

step 2/5 "PyTorch, OpenMMLab and tools, as locked in $lock"
# --no-deps: the lock is complete. The two packages with compiled parts come next, built against what is installed here.
compiled='^(mmcv|xtcocotools)=='
"$uv" pip install --no-deps -r <(grep -vE "$compiled" "$lock")

step 3/5 "xtcocotools and mmcv with its ops, built against that numpy and torch (20 minutes and more on 2 cores)"
# A wheel from uv's cache may have been built against another numpy or torch: build anew what does not import.
for package in xtcocotools:xtcocotools.mask mmcv:mmcv._ext; do
  name=${package%:*}
  imports="import torch, ${package#*:}"
  pin=$(grep -E "^$name==" "$lock")
  export CFLAGS="${CFLAGS:--g0 -O2}" CXXFLAGS="${CXXFLAGS:--g0 -O2}" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}"
  "$VIRTUAL_ENV/bin/python" -c "$imports" 2>/dev/null || "$uv" pip install --no-deps --no-build-isolation "$pin"
  "$VIRTUAL_ENV/bin/python" -c "$imports" 2>/dev/null ||
    "$uv" pip install --no-deps --no-build-isolation --no-binary "$name" --no-cache --reinstall "$pin"
  "$VIRTUAL_ENV/bin/python" -c "$imports"
done

step 4/5 "res2net_mm itself, editable"
"$uv" pip install --no-deps --no-build-isolation --editable .
"$VIRTUAL_ENV/bin/python" -m res2net_mm.doctor

step 5/5 "tests"
OMP_NUM_THREADS=1 "$VIRTUAL_ENV/bin/python" -m pytest "${tests[@]/#/tests/}"
