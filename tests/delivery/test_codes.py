"""Card codes at rest."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from services.delivery import codes
from shared.settings import Settings

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
CODE = "GIFT-7K2M-9QXD-44TN"


def with_keys(*keys: str) -> Settings:
    return Settings.model_validate({"database_url": "postgresql://x", "rabbitmq_url": "amqp://x", "code_keys": keys})


def test_a_code_comes_back_and_cannot_be_read_in_between() -> None:
    token = codes.encrypt(CODE, with_keys(NEW))

    assert codes.decrypt(token, with_keys(NEW)) == CODE
    assert CODE not in token
    assert token.isascii()


def test_the_same_code_never_looks_the_same_twice() -> None:
    assert codes.encrypt(CODE, with_keys(NEW)) != codes.encrypt(CODE, with_keys(NEW))


def test_a_code_of_an_old_key_can_be_read_while_that_key_is_listed() -> None:
    token = codes.encrypt(CODE, with_keys(OLD))

    assert codes.decrypt(token, with_keys(NEW, OLD)) == CODE


def test_rotation_makes_the_old_key_dispensable() -> None:
    token = codes.rotate(codes.encrypt(CODE, with_keys(OLD)), with_keys(NEW, OLD))

    assert codes.decrypt(token, with_keys(NEW)) == CODE


def test_without_a_key_the_error_names_the_setting_and_how_to_make_one() -> None:
    with pytest.raises(codes.CodeKeyError, match=r"JOBS_CODE_KEYS.*generate_key"):
        codes.encrypt(CODE, with_keys())


def test_something_that_is_no_key_is_refused_without_repeating_it() -> None:
    with pytest.raises(codes.CodeKeyError, match="no Fernet key") as raised:
        codes.encrypt(CODE, with_keys("hunter2"))

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("act", [codes.decrypt, codes.rotate])
@pytest.mark.parametrize(
    "token",
    [pytest.param(codes.encrypt(CODE, with_keys(OLD)), id="of another key"), "damaged", "", "ümlaut"],
)
def test_a_code_that_no_key_opens_is_an_error_that_says_so(act: type, token: str) -> None:
    with pytest.raises(codes.CodeKeyError, match="end of JOBS_CODE_KEYS"):
        act(token, with_keys(NEW))
