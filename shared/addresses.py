"""Addresses and numbers that a message can really be sent to."""

from __future__ import annotations

import unicodedata

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType

from shared.errors import Rejected

MOBILES = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.VOIP}
TWILIO_TEST_NUMBERS = "500555"  # area and exchange; phonenumbers takes them for personal numbers
LONGEST_NUMBER = 50


def email_address(text: str) -> str:
    """Give the form of an address to send to: its domain in ASCII, its local part as written.

    A local part beyond ASCII stays as it is; only a relay with SMTPUTF8 takes it (RFC 6531).

    Raises:
        Rejected: invalid_address, with a detail that does not repeat the address.
    """
    try:
        found = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        raise Rejected("invalid_address", _address_fault(text)) from None
    return found.ascii_email or f"{found.local_part}@{found.ascii_domain}"


def _address_fault(text: str) -> str:
    # The validator's own words can repeat parts of the address.
    if "<" in text or '"' in text:
        return "give the bare address, without a name, brackets or quotes"
    if any(c.isspace() or not c.isprintable() for c in text):
        return "take out spaces, line breaks and control characters"
    local, at, domain = text.rpartition("@")
    if not (local and at and domain):
        return "give a mailbox, an @ and a domain"
    if domain.startswith("[") or "." not in domain or domain.endswith((".test", ".local", ".invalid", ".localhost")):
        return "use a public domain name after the @, not an IP address or a reserved name"
    return "check the spelling: misplaced dots or hyphens, characters that no mailbox has, or too long"


def phone_number(text: str, region: str | None = None) -> str:
    """Give a number that can receive SMS, in E.164.

    Parameters:
        region: ISO 3166 country of a number that was written without one; None: such numbers are refused.

    Raises:
        Rejected: invalid_number, with a detail that does not repeat the number.
    """
    # Numbers copied from an address book carry invisible direction marks.
    bare = "".join(c for c in text if unicodedata.category(c) != "Cf").strip(" ")
    bare = bare[4:] if bare[:4].lower() == "tel:" else bare
    if len(bare) > LONGEST_NUMBER or any(c.isalpha() or not c.isprintable() for c in bare):
        raise Rejected("invalid_number", "write digits only: letters are not dialled, extensions get no SMS")
    try:
        number = phonenumbers.parse(bare, region)
    except NumberParseException as error:
        raise Rejected("invalid_number", _number_fault(error.error_type)) from None
    _refuse_unreachable(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _number_fault(kind: int) -> str:
    if kind == NumberParseException.INVALID_COUNTRY_CODE:
        return "start with + and a country code that exists, as in +44 7400 123456"
    return "give a whole number with its country code, as in +44 7400 123456"


def _refuse_unreachable(number: PhoneNumber) -> None:
    # The parser takes an extension off in silence, and the SMS would reach the switchboard.
    if number.extension:
        raise Rejected("invalid_number", "leave out the extension: it gets no SMS")
    if not phonenumbers.is_valid_number(number):
        raise Rejected("invalid_number", "no such number is in use: digits are missing, too many, or of an old plan")
    is_test = number.country_code == 1 and str(number.national_number).startswith(TWILIO_TEST_NUMBERS)
    if phonenumbers.number_type(number) not in MOBILES and not is_test:
        raise Rejected("invalid_number", "give a mobile number: this kind of line gets no SMS")
