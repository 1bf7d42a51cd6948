#!/usr/bin/env bash
# What tools/slurm_train.sh and tools/slurm_test.sh share; they say what it reads.
#   tools/slurm_run.sh PARTITION JOB_NAME TOOL [arguments of TOOL]
set -euo pipefail
partition=$1 job_name=$2 tool=$3
shift 3
tasks=${GPUS:-8}
tasks_per_node=${GPUS_PER_NODE:-$((tasks < 8 ? tasks : 8))}

# PY_ARGS and SRUN_ARGS are split at blanks, as in OpenMMLab's scripts.
read -ra more <<< "${PY_ARGS:-}"
read -ra srun_options <<< "${SRUN_ARGS:-}"
arguments=("$@" ${more[@]+"${more[@]}"})

gpus=(--gres="gpu:$tasks_per_node")
case " ${arguments[*]} " in
  *' --device cpu '* | *' --device=cpu '*) gpus=() ;;
esac

# A task that ends with an error or is killed ends the others, which would wait for it.
exec srun --partition="$partition" --job-name="$job_name" ${gpus[@]+"${gpus[@]}"} \
  --ntasks="$tasks" --ntasks-per-node="$tasks_per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
  ${srun_options[@]+"${srun_options[@]}"} \
  python -u "$(dirname "$0")/$tool" "${arguments[@]}" --launcher slurm
