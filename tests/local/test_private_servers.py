"""The private servers start once, come back after a crash, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pika
import psycopg
import pytest

from deploy.local import postgres, processes, rabbitmq, state
from deploy.local.errors import ServerMissing


def kill(directory: Path) -> None:
    process = processes.recorded(directory / "pid.json")
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)


def read_settings(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())


def publish(url: str, body: bytes) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", "kept", body, pika.BasicProperties(delivery_mode=2))


def take(url: str) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        body: bytes | None = connection.channel().basic_get("kept", auto_ack=True)[2]
        return body


def test_postgres_starts_once_survives_a_kill_and_stops_without_a_trace(postgres_directory: Path) -> None:
    url = postgres.start(postgres_directory)
    first = processes.recorded(postgres_directory / "pid.json")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    assert postgres.start(postgres_directory) == url
    assert processes.recorded(postgres_directory / "pid.json") == first

    kill(postgres_directory)
    assert postgres.start(postgres_directory) == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)

    postgres.stop(postgres_directory)
    postgres.stop(postgres_directory)
    assert not postgres.running(postgres_directory)
    assert processes.marked(postgres_directory) == []


def test_postgres_starts_over_a_pid_file_of_the_last_boot(postgres_directory: Path) -> None:
    postgres.start(postgres_directory)
    kill(postgres_directory)
    record = postgres_directory / "pid.json"
    record.write_text(record.read_text().replace('"born": "', '"born": "another boot'))

    url = postgres.start(postgres_directory)

    assert read_settings(url)["data_directory"]


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_postgres_listens_on_loopback_only_and_is_durable_unless_told(
    postgres_directory: Path, durable: bool, fsync: str
) -> None:
    found = read_settings(postgres.start(postgres_directory, durable=durable))

    assert found["listen_addresses"] == "127.0.0.1"
    assert found["unix_socket_directories"] == ""
    assert {found["fsync"], found["full_page_writes"], found["synchronous_commit"]} == {fsync}


def test_rabbitmq_starts_once_survives_a_kill_and_stops_without_a_trace(rabbitmq_directory: Path) -> None:
    url = rabbitmq.start(rabbitmq_directory)
    first = processes.recorded(rabbitmq_directory / "pid.json")
    publish(url, b"still here")

    assert rabbitmq.start(rabbitmq_directory) == url
    assert processes.recorded(rabbitmq_directory / "pid.json") == first

    kill(rabbitmq_directory)
    assert rabbitmq.start(rabbitmq_directory) == url
    assert take(url) == b"still here"

    rabbitmq.stop(rabbitmq_directory)
    rabbitmq.stop(rabbitmq_directory)
    assert not rabbitmq.running(rabbitmq_directory)
    assert processes.marked(rabbitmq_directory) == []


def test_a_port_is_remembered_until_another_program_takes_it(tmp_path: Path) -> None:
    first = state.ports(tmp_path, "amqp")
    again = state.ports(tmp_path, "amqp")

    with socket.create_server(("127.0.0.1", first["amqp"])):
        moved = state.ports(tmp_path, "amqp")

    assert again == first
    assert moved != first


def test_passwords_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    state.remember(tmp_path, password="secret")

    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, rabbitmq_directory: Path) -> None:
    monkeypatch.setattr("deploy.local.programs._rabbitmq", lambda: None)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    with pytest.raises(ServerMissing, match=r"rabbitmq-server is missing.*install .* or set JOBS_RABBITMQ_URL"):
        rabbitmq.start(rabbitmq_directory)
