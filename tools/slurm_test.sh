#!/usr/bin/env bash
# Test on a Slurm cluster: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS and PY_ARGS as for tools/slurm_train.sh.
set -euo pipefail
usage='usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [...]'
exec "$(dirname "$0")/slurm_run.sh" "${1:?$usage}" "${2:?$usage}" test.py "${3:?$usage}" "${4:?$usage}" "${@:5}"
