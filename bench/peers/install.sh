#!/bin/sh
# Install what the figures are compared with, below .local/bench: BullMQ, Prisma and pg from npm; Celery and stock Dramatiq
# into a venv of their own; Redis from Debian's packages. What cannot be had is said, and its line is skipped later.
set -eu
cd "$(dirname "$0")/../.."
place=.local/bench
mkdir -p $place/node

missing() { echo "not installed: $*" >&2; }

if command -v npm >/dev/null; then
    cp bench/peers/node/* bench/peers/node/.npmrc $place/node/
    # Prisma's engines are downloads of its own, and unneeded: the client asks PostgreSQL through pg.
    (cd $place/node && npm ci --ignore-scripts --loglevel=error &&
        CHECKPOINT_DISABLE=1 PRISMA_SCHEMA_ENGINE_BINARY=/bin/true npx prisma generate --schema schema.prisma) ||
        missing "BullMQ, Prisma and pg: npm failed, see above"
else
    missing "BullMQ, Prisma and pg: npm is missing, install Node.js 20 or newer"
fi

.venv/bin/python -m venv $place/python
$place/python/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r bench/peers/requirements.txt || missing "Celery and stock Dramatiq: pip failed, see above"

.venv/bin/python -m bench.peers.redis || missing "Redis: see above"
