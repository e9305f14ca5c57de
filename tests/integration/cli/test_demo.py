"""`agentd demo` end to end, in a process of its own, against the scripted model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentd.cli import demo
from agentd.cli.demo_view import View
from agentd.cli.main import main
from agentd.executors import BwrapExecutor, LocalExecutor, Probe
from agentd.llm.scripted import Reply, Request, ScriptedModel, ToolCall
from agentd.patch.display import TurnEnd


def run_demo(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    without_key = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    command = [sys.executable, "-m", "agentd.cli.main", "demo", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, env=without_key | variables, check=False)


def workspace_of(output: str) -> Path:
    found = re.search(r"^workspace (.+)$", output, re.MULTILINE)
    assert found, output
    return Path(found[1])


def test_everything_is_shown_and_happened() -> None:
    done = run_demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the scripted model: no network, no cost" in done.stdout
    in_order = [
        "I'll have a look",
        "┌ bash",
        "looking, 1 of 3",
        "└ completed",
        "┌ python",
        "price_of(",
        "add_vat(",
        "gross     311.96",
        "┌ create",
        "| gross | 311.96 |",
        "cost 311.96 euros with tax",
        "summary",
        "turn         completed",
        "model calls  4,",
        "price        unknown",
        "5 price_of",
        "1 python",
        "report.md (",
        "the model calls tools",
        "list_items({}) = ",
        "All prices at once.",
        'price_of({"item":"anvil"}) = 120.0',
        "The anvil is the dearest, at 120.00 euros, and the balloon the cheapest",
        "summary",
        "turn         completed",
        "model calls  3,",
        "tokens in (0 cached)",
        "price        unknown",
        "1 list_items, 5 price_of",
        "in parallel  up to 5",
        'executor="bwrap": the code is shut in',
        "┌ python",
        "- the file: not reached, [Errno 2]",
        "- example.com: not reached, ",
        "[refused: example.com:443 is not in allowed_domains]",
        "└ completed",
        "I could neither see the file nor reach the site",
        "summary",
        "secret       not seen",
        "website      refused",
        "sandbox.md (",
    ]
    position = 0
    for words in in_order:
        position = done.stdout.find(words, position)
        assert position >= 0, f"{words!r} is missing or out of order in:\n{done.stdout}"
    assert not workspace_of(done.stdout).exists()


def test_the_workspace_can_be_kept(tmp_path: Path) -> None:
    done = run_demo("--keep", "--model", "some-model", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agentd demo on some-model" in done.stdout
    workspace = workspace_of(done.stdout)
    assert workspace.parent == tmp_path
    assert "| gross | 311.96 |" in (workspace / "report.md").read_text("utf-8")


def test_scripted_needs_no_proxy_and_uses_no_key() -> None:
    nowhere = "http://127.0.0.1:9"
    done = run_demo(
        "--scripted", OPENAI_API_KEY="sk-real", OPENAI_BASE_URL=nowhere, HTTP_PROXY=nowhere, ALL_PROXY=nowhere
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_with_a_key_the_api_is_asked_and_its_failure_told() -> None:
    with ScriptedModel(Reply("no such key", status=401)) as server:
        done = run_demo(OPENAI_API_KEY="sk-real", OPENAI_BASE_URL=server.base_url)
        assert server.requests[0].headers["authorization"] == "Bearer sk-real"
    assert done.returncode == 1
    assert "the real API" in done.stdout
    assert "the model API failed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("I would rather not.", "bash that ran"),
        ("```bash:execute\nexit 3\n```\n", "Python that ran"),
        ("```bash:execute\necho '311.96' > report.md\n```\n", "a call of the MCP server"),
    ],
)
def test_a_model_that_does_only_a_part_is_not_called_a_success(
    answer: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "SCRIPT", [answer, "Done.", "Done.", "Done."])
    result = CliRunner().invoke(main, ["demo", "--scripted"])
    assert result.exit_code == 1, result.output
    assert "the demo did not show" in result.output
    assert missing in result.output and "a JSON tool call of the MCP server" in result.output


def test_calls_one_after_the_other_are_not_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [Reply(tool_calls=[ToolCall("price_of", {"item": item})]) for item in ("anvil", "drum")]
    monkeypatch.setattr(demo, "SCRIPT", ["Done.", *calls, "Done.", "Done."])
    result = CliRunner().invoke(main, ["demo", "--scripted"])
    assert result.exit_code == 1, result.output
    assert "2 price_of" in result.output and "up to 1" in result.output
    assert "a JSON tool call" not in result.output and ", parallel tool calls, " in result.output


class NoSandbox(LocalExecutor):
    """Runs code with the caller's rights, whatever is asked for."""

    def __init__(self, workspace_dir: Path, **_: object) -> None:
        super().__init__(workspace_dir)

    @classmethod
    def probe(cls) -> Probe:
        return BwrapExecutor.probe()


def test_a_sandbox_that_does_not_hold_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = """```python:execute
import re
print(open({key!r}).read())
open("sandbox.md", "w").write("It was easy.")
```
"""

    def answer(request: Request) -> str:
        found = re.search(r"try to read (\S+),", request.last_text)
        return attack.format(key=found[1]) if found else "Done."

    monkeypatch.setattr("agentd.BwrapExecutor", NoSandbox, raising=False)
    monkeypatch.setattr(demo, "SCRIPT", ["Done.", "Done.", answer, answer])
    result = CliRunner().invoke(main, ["demo", "--scripted"])
    assert result.exit_code == 1, result.output
    assert "secret       SEEN" in result.output and "website      NOT refused" in result.output
    missing = result.output.splitlines()[-1]
    assert "a secret that stays one, a name that is refused" in missing
    assert "code in a sandbox" not in missing and "sandbox.md" not in missing


def test_without_a_sandbox_the_demo_says_so_and_is_no_failure(tmp_path: Path) -> None:
    for name in ("bash", "sleep", "ls", "cat"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    done = run_demo(PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out, it does not run here\n  why  there is no `bwrap` on the PATH\n  fix  Install" in done.stdout


def test_a_price_that_is_known_is_shown() -> None:
    view = View()
    view.show(TurnEnd("completed", 1000, 100, cost_usd=0.00123))
    with CliRunner().isolation() as (out, _, _):
        view.summary()
        assert "price        $0.0012" in out.getvalue().decode()
