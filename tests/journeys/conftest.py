"""Journeys use what the tests of services use."""

from tests.console.conftest import cli
from tests.delivery.conftest import hooks

__all__ = ["cli", "hooks"]
