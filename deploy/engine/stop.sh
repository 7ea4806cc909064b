#!/bin/bash
# stop.sh DIR: end the engine of start.sh, with its containers, its bridge and the policy that it set. Its images stay.
set -u
dir=$(cd "$1" 2>/dev/null && pwd) || exit 0
pid=$(cat "$dir/run/docker.pid" 2>/dev/null) || exit 0
kill "$pid" 2>/dev/null && while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
ip link del docker0 2>/dev/null
iptables -P FORWARD ACCEPT
