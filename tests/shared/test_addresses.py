"""Which addresses and numbers are sent to, and in which form."""

from __future__ import annotations

import pytest

from shared.addresses import email_address, phone_number
from shared.errors import Rejected

GOOD_ADDRESSES = {
    "mia@example.com": "mia@example.com",
    "Mia.Keeps.Case@EXAMPLE.com": "Mia.Keeps.Case@example.com",
    "mia+gifts@example.com": "mia+gifts@example.com",
    "user@bücher.de": "user@xn--bcher-kva.de",
    "josé@example.com": "josé@example.com",
    "用户@例え.jp": "用户@xn--r8jz45g.jp",
    "mia@gmail.con": "mia@gmail.con",
    f"{'a' * 65}@example.com": f"{'a' * 65}@example.com",
}
BAD_ADDRESSES = [
    "",
    "@",
    "mia",
    "mia@",
    "@example.com",
    "mia@shop.test",
    "mia@localhost",
    "mia@[127.0.0.1]",
    "mia@[IPv6:::1]",
    "mia@127.0.0.1",
    '"mia smith"@example.com',
    "mia..smith@example.com",
    "mia.@example.com",
    "mia@example..com",
    "mia@example.com\n",
    "mia@example.com\r\nBcc: all@example.com",
    "mia\r@example.com",
    "Mia <mia@example.com>",
    "<mia@example.com>",
    "mia@example.com, leo@example.com",
    " mia@example.com",
    "mia@-example.com",
    f"mia@{'a' * 250}.com",
    "mia\x00@example.com",
]


@pytest.mark.parametrize(("written", "sent_to"), GOOD_ADDRESSES.items())
def test_an_address_is_sent_to_with_its_domain_in_ascii(written: str, sent_to: str) -> None:
    assert email_address(written) == sent_to


@pytest.mark.parametrize("written", BAD_ADDRESSES)
def test_an_address_that_cannot_work_is_refused_without_repeating_it(written: str) -> None:
    with pytest.raises(Rejected) as refused:
        email_address(written)

    assert refused.value.reason == "invalid_address"
    assert refused.value.detail
    assert not {"mia", "smith", "127.0.0.1", "shop.test"} & set(refused.value.detail.replace("@", " ").split())
    assert len(written) < 2 or written not in refused.value.detail


GOOD_NUMBERS = {
    "+14155552671": "+14155552671",
    "+44 (0)7400 123456": "+447400123456",
    "tel:+1-415-555-2671": "+14155552671",
    "TEL:+1-415-555-2671": "+14155552671",
    "＋１４１５５５５２６７１": "+14155552671",
    "+١٤١٥٥٥٥٢٦٧١": "+14155552671",
    "++14155552671": "+14155552671",
    " +1 (415) 555-2671 ": "+14155552671",
    "\u202a+14155552671\u202c": "+14155552671",
    "+1 604 555 0123": "+16045550123",
    "+52 55 1234 5678": "+525512345678",
    "+4915112345678": "+4915112345678",
    "+5511987654321": "+5511987654321",
    "+2250707123456": "+2250707123456",
    **{number: number for number in (f"+1500555000{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9))},
}
BAD_NUMBERS = [
    "",
    " ",
    "+",
    "+999123456789",
    "415 555 2671",
    "07400 123456",
    "+1415555",
    "+141555526711234567",
    "911",
    "+5215512345678",
    "+22507123456",
    "+551187654321",
    "+14155552671 ext. 5",
    "+14155552671x5",
    "+14155552671#5",
    "+14155552671,5",
    "+14155552671;ext=5",
    "tel:+1-415-555-2671;ext=5",
    "+1 415 555 CARD",
    "+1 800 555 1234",
    "+442079460000",
    "+44 20 7946 0958",
    "+447011123456",
    "+14155552671\x00",
    "+1415555\n2671",
    "1" * 300,
]


@pytest.mark.parametrize(("written", "sent_to"), GOOD_NUMBERS.items())
def test_a_number_is_sent_to_in_e164(written: str, sent_to: str) -> None:
    assert phone_number(written) == sent_to


@pytest.mark.parametrize("written", BAD_NUMBERS)
def test_a_number_that_gets_no_sms_is_refused_without_repeating_it(written: str) -> None:
    with pytest.raises(Rejected) as refused:
        phone_number(written)

    assert refused.value.reason == "invalid_number"
    assert refused.value.detail
    assert len(written.strip()) < 3 or written not in refused.value.detail


def test_a_national_number_is_read_in_the_region_given() -> None:
    assert phone_number("07400 123456", "GB") == "+447400123456"


@pytest.mark.parametrize("written", ["911", "112", "0800 1111"])
def test_an_emergency_or_free_number_is_refused_in_its_region_too(written: str) -> None:
    with pytest.raises(Rejected):
        phone_number(written, "GB")
