#!/usr/bin/env bash
# A Slurm of one machine to try tools/slurm_train.sh on, from Debian's packages, without systemd and without cgroups:
#
#   apt-get install slurm-wlm munge          once; this script installs nothing
#   tools/dev/slurm_node.sh start FOLDER     as root; FOLDER keeps configuration, state and logs, and must not exist
#   export SLURM_CONF=FOLDER/slurm.conf      then srun, sbatch and scontrol know it; its partition is called cpu
#   tools/dev/slurm_node.sh stop FOLDER
set -euo pipefail
usage='usage: tools/dev/slurm_node.sh start|stop FOLDER'
action=${1:?$usage}
folder=${2:?$usage}

stop() {
  for daemon in slurmd slurmctld munged; do
    [ ! -s "$folder/$daemon.pid" ] || kill "$(cat "$folder/$daemon.pid")" 2> /dev/null || true
  done
}

start() {
  for program in munged slurmctld slurmd; do
    command -v "$program" > /dev/null || { echo "$program is missing: apt-get install slurm-wlm munge" >&2; exit 1; }
  done
  mkdir "$folder"
  folder=$(cd "$folder" && pwd)
  mkdir "$folder/state" "$folder/spool"
  (umask 077; head -c 1024 /dev/urandom > "$folder/munge.key")
  write_configuration > "$folder/slurm.conf"
  export SLURM_CONF=$folder/slurm.conf

  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
  slurmctld
  slurmd
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --format=%T 2> /dev/null)" != idle ] || { sinfo; echo "export SLURM_CONF=$SLURM_CONF"; return; }
    sleep 0.5
  done
  tail -n 5 "$folder"/*.log >&2
  stop
  echo "Slurm did not start; its logs are in $folder" >&2
  exit 1
}

write_configuration() {
  cat << CONFIGURATION
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${SLURMCTLD_PORT:-6817}
SlurmdPort=${SLURMD_PORT:-6818}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
JobRequeue=1
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONFIGURATION
}

case $action in
  start) start ;;
  stop) stop ;;
  *) echo "$usage" >&2; exit 1 ;;
esac
