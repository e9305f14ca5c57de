"""One client in all its forms: both APIs, blocking and not, streamed and not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

from agentd import (
    CodeExecution,
    ScriptedModel,
    TextDelta,
    display_events,
    display_events_async,
    patch_openai_with_ptc,
    unpatch_openai,
)
from agentd.core.events import CodeFinished


@dataclass
class Answer:
    """What a call gave, in whatever form it was made."""

    text: str
    codes: list[tuple[str, str]]
    run: Any
    shown: list[Any] = field(default_factory=list)
    response: Any = None

    @property
    def outputs(self) -> list[str]:
        return [output for output, _ in self.codes]


class Driver:
    """Asks a patched client through one API in one mode."""

    def __init__(self, api: str, mode: str) -> None:
        self.api, self.mode = api, mode
        self.streamed = mode.endswith("stream")
        self.is_async = mode.startswith("async")
        self._runner = asyncio.Runner() if self.is_async else None
        self.client: Any = None

    def connect(self, server: ScriptedModel, workspace: Path, **options: Any) -> Any:
        cls = AsyncOpenAI if self.is_async else OpenAI
        client = cls(base_url=server.base_url, api_key="scripted", max_retries=options.pop("max_retries", 0))
        self.client = options.pop("patch", patch_openai_with_ptc)(client, cwd=workspace, **options)
        return self.client

    def arguments(self, prompt: Any, options: dict[str, Any]) -> dict[str, Any]:
        if self.api == "responses":
            return {"model": "m", "input": prompt, **options}
        messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        return {"model": "m", "messages": messages, **options}

    def resource(self) -> Any:
        return self.client.responses if self.api == "responses" else self.client.chat.completions

    def ask(self, prompt: Any, **options: Any) -> Answer:
        arguments = self.arguments(prompt, options)
        if self._runner is not None:
            return self._runner.run(self._ask_async(arguments))
        made = self.resource().create(**arguments, **({"stream": True} if self.streamed else {}))
        return self._shown(made, list(display_events(made))) if self.streamed else self._whole(made)

    async def _ask_async(self, arguments: dict[str, Any]) -> Answer:
        made = await self.resource().create(**arguments, **({"stream": True} if self.streamed else {}))
        if not self.streamed:
            return self._whole(made)
        return self._shown(made, [event async for event in display_events_async(made)])

    def _shown(self, stream: Any, shown: list[Any]) -> Answer:
        text = "".join(event.text for event in shown if isinstance(event, TextDelta))
        codes = [(event.output, event.status) for event in shown if isinstance(event, CodeExecution)]
        return Answer(text, codes, stream.agentd, shown)

    def _whole(self, response: Any) -> Answer:
        text = response.output_text if self.api == "responses" else response.choices[0].message.content
        codes = [
            (event.output, "failed" if event.exit_code or event.reason else "completed")
            for event in response.agentd.events
            if isinstance(event, CodeFinished)
        ]
        return Answer(text or "", codes, response.agentd, response=response)

    def run(self, coroutine: Any) -> Any:
        assert self._runner is not None
        return self._runner.run(coroutine)

    def close(self) -> None:
        if self.client is not None:
            unpatch_openai(self.client)
            if self._runner is not None:
                self._runner.run(self.client.close())
            else:
                self.client.close()
        if self._runner is not None:
            self._runner.close()
