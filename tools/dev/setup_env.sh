#!/usr/bin/env bash
# Make (or finish, or bring up to date) the virtual environment that every `make` target runs in.
#
#   tools/dev/setup_env.sh VENV [PYTHON]
#
# Every step can be repeated: what is already there is left alone, so an interrupted run is simply run again.
# What is fetched, sources and uv itself too, must have the hash that is in requirements/lock.txt.
# UV_FIND_LINKS=DIR takes prebuilt wheels from DIR (`make wheelhouse` fills one), as they are; with UV_OFFLINE=1 from
# nowhere else.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${1:?usage: tools/dev/setup_env.sh VENV [PYTHON]}
python=${2:-python3.11}
wheels=${UV_FIND_LINKS:-}

locked() { "$python" requirements/locked.py ${wheels:+--wheels "$wheels"} "$@"; }  # packages with their hashes

step() { printf '\n\033[1m[%s] %s\033[0m  (%s s)\n' "$1" "$2" "$SECONDS"; }

"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null || {
  echo "tools/dev/setup_env.sh: '$python' is not Python 3.11 or 3.12, for which requirements/lock.txt is made." >&2
  echo "Name one with 'make PYTHON=/path/to/python3.11 ...'." >&2
  exit 1
}

step 1/5 "virtual environment and uv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS="${PIP_FIND_LINKS:-} ${UV_FIND_LINKS:-}"
[ -z "${UV_OFFLINE:-}" ] || export PIP_NO_INDEX=1
entries=$(locked --only uv)
"$venv/bin/python" -m pip install --quiet --no-deps --require-hashes --requirement /dev/stdin <<<"$entries"
export VIRTUAL_ENV=$(cd "$venv" && pwd)
uv="$VIRTUAL_ENV/bin/uv"

# --no-deps: the lock is complete. --no-build-isolation: what is built is built with the tools that are in the lock;
# an isolated build would fetch others, of which nobody knows the hash.
install() {  # ENTRIES [UV_OPTION...]
  "$uv" pip install --no-deps --no-build-isolation --require-hashes "${@:2}" --requirement - <<<"$1"
}

step 2/5 "PyTorch, the OpenMMLab stack and tools, as locked in requirements/lock.txt"
entries=$(locked --only setuptools wheel)
install "$entries"
entries=$(locked --without xtcocotools onedl-mmcv)  # which have compiled parts, and come next
install "$entries" --compile-bytecode

# Build a package against the installed torch and numpy, or take the wheel in UV_FIND_LINKS; one that was built against
# others (from a cache, or left from an earlier lock) imports with an error and is built anew.
compiled_package() {  # NAME MODULE
  local name=$1 entry source=(--no-binary "$1")
  entry=$(locked --only "$name")
  [ -z "$wheels" ] || ! compgen -G "$wheels/${name//-/_}-*.whl" >/dev/null || source=(--no-index)
  install "$entry" "${source[@]}"
  "$VIRTUAL_ENV/bin/python" -c "import torch, $2" 2>/dev/null ||
    install "$entry" --no-binary "$name" --no-cache --reinstall
  "$VIRTUAL_ENV/bin/python" -c "import torch, $2"
}

step 3/5 "xtcocotools, built against the installed numpy"
compiled_package xtcocotools xtcocotools.mask

step 4/5 "mmcv's compiled ops (seconds with a wheel or a warm cache; otherwise compiled, 12 minutes and more on 2 cores)"
CFLAGS="${CFLAGS:--g0 -O2}" CXXFLAGS="${CXXFLAGS:--g0 -O2}" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" \
  compiled_package onedl-mmcv mmcv._ext

step 5/5 "res2net_mm itself, editable"
"$uv" pip install --no-deps --no-build-isolation --editable .

printf '\n'
"$VIRTUAL_ENV/bin/python" -m res2net_mm.doctor
