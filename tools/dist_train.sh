#!/usr/bin/env bash
# Train on several GPUs (or, with --device cpu, processes): tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT serve several machines, as in OpenMMLab's script of that name.
# MAX_RESTARTS=3: where a process ends with an error or is killed, start all of them again, up to three times; they go on
# from the last save. By default the run ends then.
set -euo pipefail
config=${1:?usage: tools/dist_train.sh CONFIG PROCESSES [...]}
processes=${2:?usage: tools/dist_train.sh CONFIG PROCESSES [...]}
exec python -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" --nproc_per_node="$processes" \
  --max_restarts="${MAX_RESTARTS:-0}" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
