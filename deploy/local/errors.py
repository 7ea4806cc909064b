"""What can go wrong before the stack runs."""

from __future__ import annotations


class StackError(Exception):
    """Stop the command with what failed, why, and the way out."""


class ServerMissing(StackError):
    """Say that a server is neither installed nor installable here, and what to install."""


class StartFailed(StackError):
    """Say which process did not come up, with the last lines of its log."""
