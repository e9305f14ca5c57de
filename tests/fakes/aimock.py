"""The model server `@copilotkit/aimock` from npm: one process that speaks the protocols of many providers."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.mcp_servers import NPM

START_SECONDS = 30.0
# Its standard input ends when whoever started it has gone.
_END_WITH_THE_PARENT = "data:text/javascript,process.stdin.on('end', () => process.exit()).resume()"


class AiMock:
    """A running server. `url` is its root; each provider's API lies below it at the provider's own path."""

    def __init__(self, url: str) -> None:
        self.url = url

    def environment(self) -> dict[str, str]:
        """Return the variables that make LiteLLM find it in place of the providers, and a key for each."""
        return {
            "OPENAI_API_BASE": f"{self.url}/v1",
            "OPENAI_API_KEY": "key-of-openai",
            "ANTHROPIC_API_BASE": self.url,
            "ANTHROPIC_API_KEY": "key-of-anthropic",
            "OLLAMA_API_BASE": self.url,
            "GEMINI_API_BASE": f"{self.url}/v1beta",
            "GEMINI_API_KEY": "key-of-gemini",
        }

    def journal(self) -> list[dict[str, Any]]:
        """Return what was asked, oldest first: `path`, `headers` without keys, and `body` as a chat request."""
        return json.loads(self._ask("GET", "journal"))

    def forget(self) -> None:
        """Empty the journal."""
        self._ask("POST", "reset/journal")

    def _ask(self, method: str, what: str) -> bytes:
        request = urllib.request.Request(f"{self.url}/__aimock/{what}", method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()


@contextmanager
def aimock(folder: Path, fixtures: Sequence[dict[str, Any]], *options: str) -> Iterator[AiMock]:
    """Run a server with these fixtures on a free port; it ends with the block, or with the test process."""
    if not (NPM / "llmock").exists():
        pytest.skip("aimock is missing: run `npm ci` in tools/, or `make test`, which does")
    file, log = folder / "fixtures.json", folder / "aimock.log"
    file.write_text(json.dumps({"fixtures": list(fixtures)}), "utf-8")
    options = ("-p", "0", "-f", str(file), "--chunk-size", "6", *options)
    command = ["node", "--import", _END_WITH_THE_PARENT, str((NPM / "llmock").resolve()), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield AiMock(_address(process, log))
    finally:
        process.kill()
        process.communicate(timeout=START_SECONDS)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        told = log.read_text("utf-8", "replace")
        if found := re.search(r"listening on (http://\S+)", told):
            return found[1]
        if process.poll() is not None:
            raise RuntimeError(f"aimock ended with {process.returncode}: {told}")
        time.sleep(0.02)
    raise TimeoutError(f"aimock is not ready: {log.read_text('utf-8', 'replace')}")
