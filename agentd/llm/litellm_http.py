"""HTTP responses for answers that came through LiteLLM, of the class that the user's SDK works with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

_OF_THE_CONNECTION = (
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "set-cookie",
    "transfer-encoding",
)
_THEIRS = "llm_provider-"


class Http:
    """Makes the requests and responses of one call; `path` is the API's that the user called."""

    def __init__(self, provider: str, path: str) -> None:
        self._url = f"https://{provider.replace('_', '-')}.litellm.invalid{path}"

    @property
    def library(self) -> Any:
        """The HTTP library of the installed SDK."""
        module = importlib.import_module("openai._base_client")
        return getattr(module, "httpx2", None) or module.httpx

    def request(self) -> Any:
        """Return a request with nothing of the call's in it: its address says only who was asked."""
        return self.library.Request("POST", self._url)

    def response(self, status: int, headers: Mapping[str, str], content: bytes = b"", seconds: float = 0.0) -> Any:
        """Return a response that has been read, with the provider's own headers."""
        kept = [(name, value) for name, value in plain_headers(headers).items() if name not in _OF_THE_CONNECTION]
        kept.append(("content-type", "application/json"))
        response = self.library.Response(status, headers=kept, request=self.request(), content=content)
        response.elapsed = timedelta(seconds=seconds)
        return response


def plain_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by their own lower-case names: LiteLLM puts its mark before some and repeats others without."""
    plain: dict[str, str] = {}
    for name, value in headers.items():
        plain[name.lower().removeprefix(_THEIRS)] = str(value)
    return plain
