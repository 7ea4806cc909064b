"""Stand-ins for the outside world: SMTP, Twilio's API and the recipients' inbox, each in its true protocol."""

from tests.outside.behaviour import Behaviour
from tests.outside.callbacks import AUTH_TOKEN
from tests.outside.server import Outside
from tests.outside.twilio import ACCOUNT_SID, API_KEY, API_SECRET, FROM_NUMBER, MESSAGING_SERVICE_SID

__all__ = [
    "ACCOUNT_SID",
    "API_KEY",
    "API_SECRET",
    "AUTH_TOKEN",
    "FROM_NUMBER",
    "MESSAGING_SERVICE_SID",
    "Behaviour",
    "Outside",
]
