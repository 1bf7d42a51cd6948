#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
#
# As in OpenMMLab's script of that name, GPUS (8) counts the GPUs, each with a task of its own, GPUS_PER_NODE (8, or GPUS
# if that is less) those of a machine, CPUS_PER_TASK (5) the processor cores of a task; SRUN_ARGS are more options of srun,
# PY_ARGS more arguments of tools/train.py. With --device cpu it counts tasks, and asks for no GPU.
#
# A job that Slurm starts again goes on from its last save by itself. So that one is started again also when a task was
# killed, submit `sbatch --requeue job.sh`, where job.sh is
#
#   #!/bin/bash
#   #SBATCH --partition=PARTITION --ntasks=16 --ntasks-per-node=8 --cpus-per-task=5 --gres=gpu:8 --open-mode=append
#   GPUS=16 tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR && exit
#   [ "${SLURM_RESTART_COUNT:-0}" -lt 3 ] && scontrol requeue "$SLURM_JOB_ID"
set -euo pipefail
usage='usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [...]'
exec "$(dirname "$0")/slurm_run.sh" "${1:?$usage}" "${2:?$usage}" train.py "${3:?$usage}" --work-dir="${4:?$usage}" "${@:5}"
