"""Packages of Debian and Ubuntu: installed by root without starting a service, or unpacked by anybody."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.errors import ServerMissing

_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBID = "#!/bin/sh\n# put here by giftcard-jobs during one apt-get install\nexit 101\n"
_UNITS = ("rabbitmq-server.service", "epmd.service", "epmd.socket", "prometheus.service")
_PATCH = 'ROOTDIR="$(dirname "$(dirname "$(readlink -f "$0")")")"'


def is_root() -> bool:
    """Tell whether packages can be installed for the whole machine."""
    return os.geteuid() == 0


def install(package: str) -> None:
    """Install a package as root; the service inside neither starts now nor at the next boot.

    Raises:
        ServerMissing: if this is no Debian, or it cannot be had.
    """
    _need("apt-get", package)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        _run(["apt-get", "update", "-qq"], package, env=environment)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], package, env=environment)
    for unit in _UNITS if shutil.which("systemctl") else ():
        subprocess.run(["systemctl", "disable", "--quiet", unit], capture_output=True, check=False)


def unpack(package: str, into: Path) -> None:
    """Unpack a package and what it needs into a directory, without root.

    Raises:
        ServerMissing: if this is no Debian, or it cannot be had.
    """
    _need("apt-get", package)
    _need("dpkg", package)
    archives, draft = into.with_name(into.name + ".debs"), into.with_name(into.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    for directory in (draft, archives / "lists/partial", archives / "cache/archives/partial"):
        directory.mkdir(parents=True, exist_ok=True)
    own = [f"-oDir::State::Lists={archives}/lists", f"-oDir::Cache={archives}/cache"]
    _run(["apt-get", *own, "update", "-qq"], package)
    _run(["apt-get", *own, "-qq", "download", *_closure(package, own)], package, cwd=archives)
    for archive in archives.glob("*.deb"):
        _run(["dpkg", "-x", str(archive), str(draft)], package)
    _relocate_erlang(draft)
    draft.rename(into)
    shutil.rmtree(archives)


def _closure(package: str, own: list[str]) -> list[str]:
    """Name the package, all of Erlang that it needs, and the libraries that this machine lacks."""
    parts = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"]
    listing = _run(["apt-cache", *own, "depends", "--recurse", *(f"--no-{part}" for part in parts), package], package)
    names = {line for line in listing.splitlines() if line and line[0] not in " <|"}
    status = _run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n"], package)
    installed = {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    return sorted(
        name
        for name in names
        if name.startswith((package, "erlang-")) or (name.startswith("lib") and name.split(":")[0] not in installed)
    )


def _relocate_erlang(into: Path) -> None:
    script = into / "usr/lib/erlang/bin/erl"
    if script.exists():
        script.write_text(script.read_text().replace("ROOTDIR=/usr/lib/erlang", _PATCH))


@contextmanager
def _no_services() -> Iterator[None]:
    """Forbid package scripts to start services; a policy of the machine's own stays as it is."""
    if _POLICY.exists() and _POLICY.read_text() != _FORBID:  # else left by a run that was killed
        yield
        return
    _POLICY.write_text(_FORBID)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _need(program: str, package: str) -> None:
    if not shutil.which(program):
        raise ServerMissing(f"{package} is missing, and without {program} it cannot be fetched: {_way_out(package)}")


def _run(command: list[str], package: str, *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env=env, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        problem = f"{package} is missing, and '{' '.join(command[:3])}' failed: {_way_out(package)}"
        raise ServerMissing(f"{problem}\n{done.stderr.strip()}")
    return done.stdout


def _way_out(package: str) -> str:
    return f"install {package} by hand, or set JOBS_RABBITMQ_URL to a server of your own"
