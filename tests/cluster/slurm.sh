#!/usr/bin/env bash
# A SLURM of one node on this machine, for tests: slurmctld, slurmd and munged, on loopback.
#
#     tests/cluster/slurm.sh start FOLDER
#     tests/cluster/slurm.sh crash FOLDER JOB   # the controller alone, once it has saved that job
#     tests/cluster/slurm.sh recover FOLDER     # and it comes back
#     tests/cluster/slurm.sh stop FOLDER
#
# Needs root and what install.sh installs. All that it writes is in FOLDER, but for links to it in
# /etc/slurm, since Snakemake's plugin drops SLURM_CONF; where a slurm.conf is there already, it
# refuses. Memory is limited by sampling, as control groups cannot be had in many containers; CPUs and
# memory of the node are declared, not measured.
set -euo pipefail
shopt -s inherit_errexit
readonly verb=${1:?start, crash, recover or stop} folder=$(realpath -m "${2:?a folder}") job=${3:-}
readonly system=/etc/slurm files=(slurm.conf cgroup.conf gres.conf)

fail() {
    echo "slurm.sh: error: $*" >&2
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

configure() {
    mkdir -p "$folder"/{state,spool,log,munge}
    chmod 711 "$folder"
    chmod 700 "$folder/munge"
    head -c 128 /dev/urandom > "$folder/munge/munge.key"
    chmod 400 "$folder/munge/munge.key"
    cat > "$folder/slurm.conf" << CONF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
# No control groups: processes of a job are found by their parents, and memory by sampling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
# No accounting, as on many small clusters; ended jobs stay in squeue for MinJobAge seconds.
AccountingStorageType=accounting_storage/none
MinJobAge=36000
# A job over its time or memory has this long to leave by itself.
KillWait=5
OverTimeLimit=0
# A starved machine may answer, or start a job, later than after the usual 10 seconds.
MessageTimeout=60
BatchStartTimeout=300
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
# Named as in workflow/profiles/slurm/partitions.yaml.
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
CONF
    # A GPU that can be asked for, and does nothing.
    printf 'Name=gpu File=/dev/null\n' > "$folder/gres.conf"
    # Read by slurmd whether or not control groups are used.
    printf 'CgroupPlugin=cgroup/v1\n' > "$folder/cgroup.conf"
}

start() {
    [[ $(id -u) == 0 ]] || fail "needs root"
    for program in munged slurmctld slurmd; do
        command -v "$program" > /dev/null || fail "no $program: apt install slurm-wlm munge"
    done
    [[ ! -e $system/slurm.conf ]] || fail "$system/slurm.conf is there already"
    configure
    mkdir -p "$system"
    for file in "${files[@]}"; do ln -sf "$folder/$file" "$system/$file"; done
    # --force: it distrusts folders, such as /tmp, that others may write to.
    munged --force --key-file "$folder/munge/munge.key" --socket "$folder/munge/socket" \
        --pid-file "$folder/munge/munged.pid" --log-file "$folder/log/munged.log" \
        --seed-file "$folder/munge/seed"
    slurmctld -c
    slurmd -c
    await "sinfo --noheader --format=%T | grep --quiet idle" "$folder/log/slurmd.log"
}

# Wait for a command to succeed; after five minutes show the log and fail.
await() {
    for _ in $(seq 1500); do
        if bash -c "$1" > /dev/null 2>&1; then return; fi
        sleep 0.2
    done
    tail -n 20 "$2" "$folder/log/slurmctld.log" >&2
    fail "does not come up"
}

crash() {
    # Jobs are saved seconds after something has changed: after one more change, all others are.
    touch "$folder/change"
    scontrol update "JobId=$job" TimeLimit=+1
    await "[[ $folder/state/job_state -nt $folder/change ]]" "$folder/log/slurmd.log"
    # For commands that nobody will answer.
    sed -i s/MessageTimeout=60/MessageTimeout=1/ "$folder/slurm.conf"
    kill -KILL "$(< "$folder/slurmctld.pid")"
}

recover() {
    sed -i s/MessageTimeout=1/MessageTimeout=60/ "$folder/slurm.conf"
    slurmctld
    await "scontrol ping | grep --quiet UP" "$folder/log/slurmctld.log"
}

stop() {
    scancel --user root 2> /dev/null || true
    for pid_file in "$folder"/{slurmd.pid,slurmctld.pid,munge/munged.pid}; do
        [[ ! -s $pid_file ]] || kill "$(< "$pid_file")" 2> /dev/null || true
    done
    # Without control groups, SLURM loses sight of processes of a job that outlive their parents.
    grep --files-with-matches --null-data --line-regexp SLURM_CLUSTER_NAME=loopback \
        /proc/[0-9]*/environ 2> /dev/null | cut -d / -f 3 | xargs --no-run-if-empty kill -KILL \
        2> /dev/null || true
    for file in "${files[@]}"; do
        [[ $(readlink "$system/$file") != "$folder/$file" ]] || rm "$system/$file"
    done
}

case $verb in
    start | crash | recover | stop) "$verb" ;;
    *) fail "$verb: not start, crash, recover or stop" ;;
esac
