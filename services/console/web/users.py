"""Who may sign in: the users of the settings, with their argon2 hashes, and how often somebody may guess."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.console.web import attempts
from shared import db, logs
from shared.options import ConsoleUser
from shared.settings import settings

# The least that OWASP's password storage cheat sheet asks of argon2id: 19 MiB, twice.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# So many passwords are checked at once: more would only take memory, and let more be guessed before the lock.
_turns = BoundedSemaphore(2)
_TURN_S = 5


class Role(IntEnum):
    """What somebody may do; each may do what those before may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is signed in."""

    login: str
    role: Role

    @property
    def may_act(self) -> bool:
        """Say whether they may change anything."""
        return self.role >= Role.OPERATOR


def find(login: str) -> User | None:
    """Give a user of the settings."""
    found = settings().console_users.get(login)
    return User(login, Role[found.role.upper()]) if found else None


def hashed(password: str) -> str:
    """Give what the settings keep of a password."""
    return _HASHER.hash(password)


def fingerprint(login: str) -> str:
    """Say in a few letters which password a user has: a session ends when it changes."""
    found = settings().console_users.get(login)
    return hashlib.sha256(found.password_hash.get_secret_value().encode()).hexdigest()[:16] if found else ""


def fingerprint_of_provider() -> str:
    """Say in a few letters through which provider people come, and with which roles; empty without one."""
    provider = settings().console_oidc
    if provider is None:
        return ""
    about = [provider.issuer, provider.client_id, provider.roles_claim, *sorted(provider.roles.items())]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def sign_in(login: str, password: str, address: str) -> User | None:
    """Check a password, and count it when it is wrong. Takes as long whether there is such a user or not.

    Parameters:
        address: where the request comes from.

    Raises:
        attempts.Locked: too many were wrong, or too many are being checked.
    """
    if not _turns.acquire(timeout=_TURN_S):
        raise attempts.Locked(_TURN_S)
    try:
        with db.transaction() as connection:
            attempts.refuse_locked(connection, login, address)
        user = find(login)
        right = _fits(password, settings().console_users.get(login)) and user is not None
        with db.transaction() as connection:
            (attempts.forget if right else attempts.count)(connection, login, address)
    finally:
        _turns.release()
    logs.get().info("signed_in" if right else "sign_in_refused", user=user.login if user else "unknown")
    return user if right else None


def _fits(password: str, found: ConsoleUser | None) -> bool:
    """Compare; with somebody else's hash when there is no such user, which costs the same and is never right."""
    stand_in = next(iter(settings().console_users.values()), None)
    known = found or stand_in
    try:
        return known is not None and _HASHER.verify(known.password_hash.get_secret_value(), password)
    except (VerificationError, InvalidHashError):
        return False
