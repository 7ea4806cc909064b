"""Databases on a PostgreSQL server: made, migrated, copied and dropped."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

import psycopg
from alembic import command
from alembic.config import Config
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import make_url

from deploy.local.state import ROOT


def migrate(url: str) -> None:
    """Bring a database up to date with the migrations of this checkout."""
    configuration = Config(toml_file=ROOT / "pyproject.toml")
    configuration.attributes["url"] = url
    command.upgrade(configuration, "head")


def create(server: str, name: str, *, template: str = "template1") -> str:
    """Make a database if it is not there, as a copy of a template, and give its URL.

    Parameters:
        server: URL of any database on the server, of a user who may create databases.
    """
    with psycopg.connect(server, autocommit=True) as connection, suppress(psycopg.errors.DuplicateDatabase):
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
    return named(server, name)


def drop(server: str, name: str) -> None:
    """Drop a database, whoever is connected; nothing happens if it is not there."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def login(server: str, user: str, password: str, role: str) -> None:
    """Let a user sign in with a password as a member of a role; a user who is there gets the password."""
    with psycopg.connect(server, autocommit=True) as connection:
        with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            connection.execute(SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(Identifier(user), Identifier(role)))
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(user), Literal(password)))


def signed_in(url: str, user: str, password: str) -> str:
    """Give the URL of the same database for another user."""
    return make_url(url).set(username=user, password=password).render_as_string(hide_password=False)


def named(server: str, name: str) -> str:
    """Give the URL of another database on the same server."""
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """Give a server's URL without its password, to print."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()
