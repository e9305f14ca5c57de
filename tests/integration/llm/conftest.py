"""Models behind LiteLLM in all their forms, asked directly: the frames that they give are what is tested."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from agentd.core.protocols import ModelRequest
from agentd.llm.litellm import AsyncLiteLlm, SyncLiteLlm
from agentd.llm.openai import SdkCall
from agentd.llm.prices import Prices
from agentd.llm.routing import Route, route
from tests.fakes.messages_http import MessagesServer, messages_server

CLIENT_KEY = "key-of-the-client"
PATHS = {"responses": "/responses", "chat": "/chat/completions"}
Frames = list[dict[str, Any]]
LOOK = {
    "name": "look",
    "description": "Looks at the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def drive(awaitable: Any) -> Any:
    """Run what must never suspend."""
    try:
        next(iter(awaitable.__await__()))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a blocking model suspended")


@dataclass
class Talker:
    """Asks through one API in one mode."""

    api: str = "chat"
    mode: str = "sync"
    client_options: dict[str, Any] = field(default_factory=dict[str, Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    model: Any = None
    name: str = ""

    @property
    def is_async(self) -> bool:
        return self.mode.startswith("async")

    @property
    def streamed(self) -> bool:
        return self.mode.endswith("stream")

    def client(self) -> Any:
        options: dict[str, Any] = {"api_key": CLIENT_KEY, "organization": "org-of-the-client", "max_retries": 0}
        return (AsyncOpenAI if self.is_async else OpenAI)(**{**options, **self.client_options})

    def start(self, name: str) -> Any:
        """Begin a turn with this model."""
        client = self.client()
        self.name = name
        way = route(client, name)
        assert isinstance(way, Route)
        call = SdkCall(client, None, PATHS[self.api], self.options, None, Prices())
        self.model = (AsyncLiteLlm if self.is_async else SyncLiteLlm)(call, way)
        return self.model

    def body(self, said: Any, **more: Any) -> dict[str, Any]:
        given = said if isinstance(said, list) else [{"role": "user", "content": said}]
        tools = more.pop("tools", None)
        if tools is not None:
            chat = [{"type": "function", "function": tool} for tool in tools]
            more["tools"] = chat if self.api == "chat" else [{"type": "function", **tool} for tool in tools]
        if "raw_tools" in more:
            more["tools"] = more.pop("raw_tools")
        return {"input" if self.api == "responses" else "messages": given, **more}

    def send(self, name: str, said: Any, **more: Any) -> Frames:
        """Ask, in the running turn if there is one, and return all frames."""
        if self.model is None:
            self.start(name)
        answer = self.ask(said, **more)
        return asyncio.run(answer) if self.is_async else drive(answer)

    async def ask(self, said: Any, **more: Any) -> Frames:
        """Ask in the running turn."""
        reply = await self.open(said, **more)
        try:
            return [frame async for frame in reply]
        finally:
            await reply.aclose()

    def open(self, said: Any, **more: Any) -> Any:
        """Send a request in the running turn; the reply is to be awaited."""
        body = {"model": self.name, **self.body(said, **more)}
        return self.model.send(ModelRequest(self.api, self.streamed, json.dumps(body).encode()))


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[MessagesServer]:
    """A Messages API that shows the raw requests, in the place of Anthropic's."""
    with messages_server() as server:
        monkeypatch.setenv("ANTHROPIC_API_BASE", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
        yield server


@pytest.fixture(params=["sync", "sync-stream", "async", "async-stream"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    return request.param
