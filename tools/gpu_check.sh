#!/usr/bin/env bash
# Check the whole stack on one GPU: the CUDA tests; running times of classifiers (by themselves, compiled, in training), along curves and
# of whole models; then every task trained and tested on a few images, with and without mixed precision. Results in OUT/gpu_check.json and
# gpu_check.log, and a folder for each part that measures times. Where time is short, a call for some parts at a time:
#
#   tools/gpu_check.sh --data DIR [--out OUT] [--parts tests speed ...]      DIR has coco/, VOCdevkit/VOC2012/ and sod/
#   tools/gpu_check.sh --data DIR --device cpu --iterations 2                tries it out without a GPU
#
# PYTHON names the interpreter (python). Nothing is installed or downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python}" -m res2net_mm.cli.gpu_check "$@"
