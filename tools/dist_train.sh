#!/usr/bin/env bash
# Train on several GPUs (or, with --device cpu, processes): tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT serve several machines, as in OpenMMLab's script of that name.
# MAX_RESTARTS=3: when a process ends with an error or is killed, all are started again, up to three times, and go on from
# the last save. By default the run ends then.
set -euo pipefail
config=${1:?usage: tools/dist_train.sh CONFIG PROCESSES [...]}
processes=${2:?usage: tools/dist_train.sh CONFIG PROCESSES [...]}
nodes=${NNODES:-1}
address=${MASTER_ADDR:-127.0.0.1}
port=${PORT:-29500}

meet=(--node_rank="${NODE_RANK:-0}" --master_addr="$address" --master_port="$port")
if [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
  # The other way to meet keeps what the killed processes have said of themselves, and so may this one, unless told not to.
  export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
  meet=(--max_restarts="$MAX_RESTARTS" --rdzv_backend=c10d --rdzv_endpoint="$address:$port" --rdzv_id="$port")
  [ "$nodes" -gt 1 ] || meet+=(--local_addr="$address")
fi
exec python -m torch.distributed.run --nnodes="$nodes" --nproc_per_node="$processes" "${meet[@]}" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
