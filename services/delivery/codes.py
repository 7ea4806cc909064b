"""Card codes at rest: encrypted, so that only delivery can read them."""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.errors import Transient
from shared.settings import Settings

HOW_TO_MAKE_ONE = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class CodeKeyError(Transient):
    """Say that the keys of this process cannot do what is asked, and which setting to mend."""

    def __init__(self, detail: str) -> None:
        super().__init__("code_key", detail)


def encrypt(code: str, settings: Settings) -> str:
    """Encrypt a card's code with the newest key. Raises CodeKeyError when there is none."""
    return _keys(settings).encrypt(code.encode()).decode("ascii")


def decrypt(token: str, settings: Settings) -> str:
    """Give a card's code back, whichever of the keys it was encrypted with.

    Raises:
        CodeKeyError: no key is set, or none of them fits.
    """
    try:
        return _keys(settings).decrypt(token.encode()).decode()
    except InvalidToken:
        raise _none_fits() from None


def is_newest(token: str, settings: Settings) -> bool:
    """Say whether the newest key opens this, without opening it. Raises CodeKeyError when there is none."""
    try:
        _fernets(_secrets(settings))[0].extract_timestamp(token.encode())
    except InvalidToken:
        return False
    return True


def rotate(token: str, settings: Settings) -> str:
    """Encrypt again with the newest key. Raises CodeKeyError as `decrypt` does."""
    try:
        return _keys(settings).rotate(token.encode()).decode("ascii")
    except InvalidToken:
        raise _none_fits() from None


def _none_fits() -> CodeKeyError:
    return CodeKeyError(
        "a card's code was encrypted with none of these keys, or is damaged: add its key at the end of JOBS_CODE_KEYS"
    )


def _keys(settings: Settings) -> MultiFernet:
    return MultiFernet(_fernets(_secrets(settings)))


def _secrets(settings: Settings) -> tuple[str, ...]:
    return tuple(key.get_secret_value() for key in settings.code_keys)


@lru_cache(maxsize=4)
def _fernets(keys: tuple[str, ...]) -> list[Fernet]:
    if not keys:
        raise CodeKeyError(f"no key for card codes: set JOBS_CODE_KEYS, newest first; make one with {HOW_TO_MAKE_ONE}")
    try:
        return [Fernet(key) for key in keys]
    except ValueError:
        raise CodeKeyError(
            f"a key in JOBS_CODE_KEYS is no Fernet key (32 bytes, URL-safe base64): make one with {HOW_TO_MAKE_ONE}"
        ) from None
