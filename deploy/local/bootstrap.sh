#!/bin/sh
# Make .venv from the hashed lock file. At once when it is there and the lock has not changed.
set -eu
cd "$(dirname "$0")/../.."

stamp=.venv/.requirements
wanted=$(cksum <requirements.txt)
is_current() { [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ]; }
is_current && exit 0

mkdir -p .local
if command -v flock >/dev/null; then # two terminals at once: the second waits, and then finds it made
    exec 9>.local/bootstrap.lock
    flock 9
    is_current && exit 0
fi

fail() {
    echo "error: $*" >&2
    exit 1
}
fits() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if command -v uv >/dev/null; then
    echo "making .venv with uv …" >&2
    .venv/bin/python -c '' 2>/dev/null || uv venv --quiet --clear --python '>=3.11' .venv
    uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.txt
    echo "$wanted" >$stamp
    exit 0
fi

python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if fits $candidate; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or newer is missing: install python3.11, or uv"

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $python-venv …" >&2
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$python-venv"; } </dev/null >/dev/null ||
            fail "apt-get could not install $python-venv: install it by hand, or uv"
    else
        fail "$python has no venv module: install $python-venv ('apt-get install $python-venv'), or uv"
    fi
fi

echo "making .venv with $($python --version) …" >&2
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.txt ||
    fail "the packages of requirements.txt could not be installed, see above"
# By all processors, while pip takes one. Not left to the first import: where Python is told to write no bytecode
# (PYTHONDONTWRITEBYTECODE), each process would compile all again, and the first SMS of each takes a second.
.venv/bin/python -m compileall -qq -j 0 .venv/lib || echo "some packages could not be compiled: they start slower" >&2
echo "$wanted" >$stamp
