#!/bin/bash
# start.sh DIR: a Docker engine of our own, and images made of Debian's packages under the names that docker-compose.yml
# uses, for a machine with neither an engine nor a way to a registry of images. Debian and root; two minutes, 4 GB in DIR; with
# the same DIR again it only starts the engine. Nothing it brings goes into an image of ours. Afterwards: stop.sh DIR.
set -euo pipefail
mkdir -p "$1"
dir=$(cd "$1" && pwd)
own=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"/run "$dir"/plugins "$dir"/client/cli-plugins
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # no package starts a service
export DOCKER_HOST=unix://$dir/run/docker.sock DOCKER_CONFIG=$dir/client
declare -A images=(
    [python]=python:3.13-slim [rabbitmq]=rabbitmq:4-management [postgres]=postgres:17
    [prometheus]=prom/prometheus:v3.5.0 [alertmanager]=prom/alertmanager:v0.28.1
)

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

if ! command -v dockerd >/dev/null || ! command -v debootstrap >/dev/null; then
    say "installing Docker and debootstrap"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends docker.io iptables debootstrap >/dev/null
fi

if ! docker info >/dev/null 2>&1; then
    say "starting the engine"
    rm -f "$dir/run/docker.pid"
    options=(--data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/run/docker.pid" -H "$DOCKER_HOST")
    if dockerd --help 2>&1 | grep -q oom-score-adjust; then options+=(--oom-score-adjust 0); fi
    setsid dockerd "${options[@]}" >"$dir/run/dockerd.log" 2>&1 </dev/null &
    for _ in $(seq 60); do
        if docker info >/dev/null 2>&1; then break; fi
        sleep 0.5
    done
    docker info >/dev/null || { tail "$dir/run/dockerd.log"; exit 1; }
fi

trap '[ $? != 0 ] || echo "export DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG"' EXIT
if docker image inspect "${images[@]}" >/dev/null 2>&1; then exit 0; fi

say "making the base of all images"
if [ ! -e "$dir/trixie/etc/debian_version" ]; then
    debootstrap --variant=minbase trixie "$dir/trixie" >"$dir/run/debootstrap.log"
fi
tar -C "$dir/trixie" --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' -c . |
    docker import -c 'CMD ["bash"]' - debian:trixie-slim >/dev/null

say "unpacking Compose" # Debian 12 has none of version 2
chroot "$dir/trixie" bash -c 'apt-get update -qq && cd /tmp && apt-get -qq -o APT::Sandbox::User=root download docker-compose docker-buildx'
for package in "$dir"/trixie/tmp/*.deb; do dpkg -x "$package" "$dir/plugins"; done
cp "$dir"/plugins/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"

say "making ${images[*]}"
rm -rf "$dir/images"
cp -r "$own/images" "$dir/images"
cp /etc/ssl/certs/ca-certificates.crt "$dir/images/python/trusted.crt" # what this machine trusts, pip may need there
pids=()
for name in "${!images[@]}"; do
    docker build -q -t "${images[$name]}" "$dir/images/$name" >/dev/null 2>"$dir/run/build-$name.log" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || { tail -n 3 "$dir"/run/build-*.log; exit 1; }; done
say "done"
