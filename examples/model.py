"""Whom the examples ask: the real API when OPENAI_API_KEY is set, else the scripted model that comes with agentd."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Sequence
from typing import TypedDict

from agentd import ScriptedModel
from agentd.llm.scripted import Request, Turn


class Connection(TypedDict, total=False):
    base_url: str
    api_key: str


def connection(script: Sequence[Turn]) -> Connection:
    """Return what `OpenAI(...)` is to be given: nothing if there is a key, else the address of a model with a script.

    The scripted model is a server on this machine. Only what it says is made up: the code in it really runs.
    """
    if os.environ.get("OPENAI_API_KEY"):
        return {}
    print("(OPENAI_API_KEY is not set: a scripted model answers)", file=sys.stderr)
    server = ScriptedModel(script)
    atexit.register(server.close)
    os.environ["NO_PROXY"] = f"127.0.0.1,{os.environ.get('NO_PROXY', '')}"
    return {"base_url": server.base_url, "api_key": "scripted"}


def found(pattern: str, request: Request) -> str:
    """Return what a script looks for in the results that it was sent."""
    match = re.search(pattern, request.last_text)
    return match[1] if match else "missing"
