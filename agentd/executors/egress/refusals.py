"""Why a connection is not made, in the words of each protocol."""

from __future__ import annotations

from enum import Enum


class Why(Enum):
    """The kinds of refusal: the status of HTTP, and the reply of SOCKS5 (RFC 1928, section 6)."""

    MALFORMED = (400, 1)
    FORBIDDEN = (403, 2)
    SLOW_CLIENT = (408, 1)
    TOO_LONG = (431, 1)
    UNKNOWN_COMMAND = (501, 7)
    UNKNOWN_ADDRESS_TYPE = (502, 8)
    UNKNOWN_NAME = (502, 4)
    UNREACHABLE = (502, 5)
    SLOW_SERVER = (504, 4)

    @property
    def status(self) -> int:
        """The status code of an HTTP response."""
        return self.value[0]

    @property
    def reply(self) -> int:
        """The reply code of SOCKS5."""
        return self.value[1]


class Refusal(Exception):
    """The client gets an answer instead of a connection; its reason is one line of ASCII without any secret."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why = why
        self.reason = reason
