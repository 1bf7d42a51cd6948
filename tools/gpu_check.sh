#!/usr/bin/env bash
# Check the whole stack on one GPU: the CUDA tests, the running times of Table 3's models, then every task trained and tested on a
# few photos, with and without mixed precision. Sized for 10 minutes of a current GPU; results in OUT/gpu_check.json and gpu_check.log,
# and in OUT/benchmark.
#
#   tools/gpu_check.sh --data DIR [--out OUT] [--device cpu --iterations 2]     DIR has coco/, VOCdevkit/VOC2012/ and sod/
#
# PYTHON names the interpreter (python). Nothing is installed or downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python}" -m res2net_mm.gpu_check "$@"
