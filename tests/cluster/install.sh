#!/usr/bin/env bash
# What tests/cluster/slurm.sh starts, from Debian's or Ubuntu's packages; nothing is started here.
set -euo pipefail
[[ $(id -u) == 0 ]] || { echo "install.sh: error: needs root" >&2; exit 1; }
command -v apt-get > /dev/null || { echo "install.sh: error: no apt-get" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
if ! { command -v slurmctld && command -v slurmd && command -v munged; } > /dev/null; then
    apt-get update --quiet --quiet
    apt-get install --yes --quiet --quiet --no-install-recommends slurm-wlm munge > /dev/null
fi
