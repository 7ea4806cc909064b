"""A private RabbitMQ broker in a directory, on loopback ports of its own."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import management, processes, programs, state
from deploy.local.errors import StartFailed

USER = "jobs"
_PORTS = ("amqp", "management", "prometheus", "distribution", "epmd")
_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
default_user = {user}
default_pass = {password}
log.console = false
disk_free_limit.absolute = 64MB
"""


def start(directory: Path, *, more: str = "") -> str:
    """Start the broker of a directory, or find it running, and give its AMQP URL.

    Parameters:
        more: lines for its ``rabbitmq.conf``.

    Raises:
        ServerMissing: if RabbitMQ is neither here nor installable.
        StartFailed: with the end of its log.
    """
    programs.check_platform()
    directory = directory.resolve()
    with state.alone(directory):
        launch, check = partial(_launch, directory, more), partial(_check, directory)
        processes.ensure(_process(directory), launch, check, directory / "startup.log")
    return url(directory)


def url(directory: Path, vhost: str = "%2F") -> str:
    """Give the AMQP URL of a (percent-encoded) virtual host on the broker of a directory that was started once."""
    facts = state.read(directory)
    return f"amqp://{USER}:{facts['password']}@127.0.0.1:{facts['ports']['amqp']}/{vhost}"


def signed_in(url: str, user: str, password: str) -> str:
    """Give the AMQP URL of the same virtual host for another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def management_url(directory: Path, *, password: bool = False) -> str:
    """Give the URL of the management page and API, with user and password if asked for."""
    facts = state.read(directory)
    login = f"{USER}:{facts['password']}@" if password else ""
    return f"http://{login}127.0.0.1:{facts['ports']['management']}/"


def control(directory: Path, *arguments: str) -> str:
    """Run ``rabbitmqctl`` on the broker of a directory, and give what it printed.

    Raises:
        StartFailed: with what it said, if it failed.
    """
    directory = directory.resolve()
    server, path = programs.rabbitmq()
    env = _environment(directory, state.read(directory)["ports"], path)
    command = [str(server.with_name("rabbitmqctl")), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=directory)
    if done.returncode:
        raise StartFailed(f"rabbitmqctl {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def kill(directory: Path) -> int:
    """Kill the broker of a directory as by ``kill -9``, and give its pid; 0: it did not run. Its data stay."""
    process = _process(directory.resolve())
    if process:
        processes.end(process, signal.SIGKILL)
    return process.pid if process else 0


def running(directory: Path) -> bool:
    """Tell whether the broker of a directory runs."""
    return _process(directory) is not None


def stop(directory: Path) -> None:
    """Stop the broker of a directory with all its processes; nothing happens if none runs."""
    directory = directory.resolve()
    if not directory.exists():
        return
    with state.alone(directory):
        if process := _process(directory):
            processes.end(process)
        _end_leftovers(directory)


def delete(directory: Path) -> None:
    """Stop the broker of a directory and drop its data."""
    stop(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _process(directory: Path) -> processes.Process | None:
    return processes.recorded(directory / "pid.json")


def _launch(directory: Path, more: str) -> processes.Process:
    _end_leftovers(directory)
    server, path = programs.rabbitmq()
    ports = state.ports(directory, *_PORTS)
    facts = state.read(directory)
    password = facts.get("password") or state.remember(directory, password=secrets.token_urlsafe(24))["password"]
    configuration = _CONFIGURATION.format(**ports, user=USER, password=password)
    state.write_private(directory / "rabbitmq.conf", configuration + more)
    (directory / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
    (directory / "rabbitmq-env.conf").touch()
    env = _environment(directory, ports, path)
    _start_names(directory, ports["epmd"], env)
    return _spawn([server], directory, "pid", "startup.log", env)


def _start_names(directory: Path, port: int, env: dict[str, str]) -> None:
    """Start Erlang's name server as a process of ours: started by Erlang itself, it would outlive the broker."""
    epmd = shutil.which("epmd", path=env["PATH"]) or "epmd"
    process = _spawn([epmd, "-address", "127.0.0.1", "-port", str(port)], directory, "epmd", "epmd.log", env)
    while not state.answers(port):
        if not process.alive:
            log = directory / "epmd.log"
            raise StartFailed(f"epmd did not start; {log} ends with\n{processes.tail(log)}")
        time.sleep(0.02)


def _spawn(command: list[str | Path], directory: Path, name: str, log: str, env: dict[str, str]) -> processes.Process:
    record = directory / f"{name}.json"
    return processes.spawn(command, record=record, log=directory / log, mark=directory, env=env, cwd=directory)


def _environment(directory: Path, ports: dict[str, int], path: str) -> dict[str, str]:
    root = path.split(":")[0].removesuffix("/usr/lib/erlang/bin")
    libraries = ":".join(map(str, Path(root or "/").glob("usr/lib/*-linux-*"))) if root else ""
    return {
        "PATH": path,
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        **({"LD_LIBRARY_PATH": libraries} if libraries else {}),
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_AFLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RUNNING_UNDER_SYSTEMD": "true",  # makes the script become the broker, so that our pid is the broker's
        "RABBITMQ_BASE": str(directory),
        "RABBITMQ_NODENAME": "jobs@localhost",
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "generated"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_PID_FILE": str(directory / "rabbitmq.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    }


def _check(directory: Path) -> None:
    socket.create_connection(("127.0.0.1", state.read(directory)["ports"]["amqp"]), timeout=5).close()
    management.call(management_url(directory, password=True), "GET", "health/checks/virtual-hosts")


def _end_leftovers(directory: Path) -> None:
    for process in processes.marked(directory):
        processes.end(process, signal.SIGTERM, grace_s=10)
