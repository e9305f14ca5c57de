"""Every example runs as its reader would run it, and does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentd import MicrosandboxExecutor
from tests.fakes.mcp_servers import NPM

FOLDER = Path(__file__).parents[3] / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "model.py")
LINES = 60
# A client that nobody closes meets its end in the collector, where its socket may come before it and say so.
WARNINGS = ("-W", "error", "-W", "ignore:unclosed <socket.socket:ResourceWarning")

SHOWS = {
    "01_minimal.py": r"Bash can do that\.\s+They are in squares\.txt, and their sum is 55\.",
    "02_streaming.py": r"\[bash\]\n.*\[output\]\n1\n2\n3\n\[completed, exit code 0\]\n\nThat was three\.\n\[completed",
    "03_chat_completions.py": r"Python 3\.\d+\.\S+\n\n\$ echo .*\nversion \d.*\n\nBash \d",
    "04_async.py": r"I am in Rome\.\nI am in Oslo\.\nI am in Lima\.\n\$ basename \$PWD\nRome\n",
    "05_tools.py": r'is_free\(.*2026-12-31"\}\) = true\ntotal\(.*\) = 324\.0\nA double room, for 324\.0 euros\.',
    "06_mcp_servers.py": r"price_of\(.*get_current_time\(.*\nThe anvil for 120\.0 euros, as of 20\S+\+09:00\.",
    "07_files_and_state.py": r"Ann is in notes.*\[1, 2, 3, 4\].*False.*# Plan\n- Ann was here\n",
    "08_structured_output.py": r"files=3 largest='file300'\nmessage\ncode_interpreter_call\nmessage",
    "09_sessions_and_events.py": r"'A is not set', .*'A is 7', .*one completed 2 model calls\n.*\"status\":\"comp",
    "10_json_tool_calls.py": r"both\.\n(price_of\(.*\n){2}with_tax\(.*\) = 249\.78\nTogether .*249\.78 euros\.\n\[comp",
    "11_own_tools_beside.py": r"approve: sell 2 drums\nThe boss said yes: 2 drums are sold\.",
    "12_any_provider.py": r"It is 12\.0\.\nThey are \[1\.0, 1\.41, 1\.73\]\.",
    "13_shell_as_a_tool.py": r"\[python, completed\]\n.*\[bash, completed\]\n.*\n2 french\.txt\n.*them: chien chat\.",
    "14_elicitation_and_sampling.py": r"shop asks: Whose.*\nI have ordered a cup for Ada: Count me in\.",
    "15_resources_and_prompts.py": r"note://monday says: Buy 3 drums\.\nYou asked 'Sum up monday in one sentence\.'",
    "16_record_and_replay.py": r"recording: True\nYou rolled a 4\.\nYou rolled a 4\.",
    "17_programs_outside.py": r'price_of\(\{"item":"drum"\}\)\n\{"ok": true, "value": 89\.9\}',
    "18_a_sandbox.py": (
        r"\('1\\n', 0\)\n.*Read-only file system\n.*\[refused: example\.com:443 is not in allowed_domains\]\n.*"
        r"File too large\n\nMODE=test\n"
    ),
    "ptc_microsandbox.py": r"No virtual machine can run here, so no code was run\.\n.*: microsandbox: ",
    "ptc_sandbox_runtime.py": (
        r"srt 0\.0\.83: \d+ .*refused.*ls: .*\.ssh.*\[\.env may not be written here.*notes\.md was written at 20"
    ),
    "ptc_with_mcp.py": r"we sell anvil balloon.*5 items for 262\.15\n\n262\.15 euros\.",
    "ptc_with_tools.py": r"skills/local\n.*144 12\.0\n.*The root of 144 is 12\.0; -1 has none",
}


def environment(**more: str) -> dict[str, str]:
    """Return one with srt in it, and a machine's proxy, which must not come between an example and its model."""
    path = os.pathsep.join([str(NPM), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(FOLDER.parent), "HTTP_PROXY": "http://127.0.0.1:9", **more}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str, tmp_path: Path) -> None:
    if name == "ptc_microsandbox.py" and MicrosandboxExecutor.probe().ok:
        pytest.skip("not installable: where a virtual machine can run, this fetches an image from the network")
    ran = subprocess.run(
        [sys.executable, *WARNINGS, FOLDER / name],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stderr.splitlines()
    assert said[0] == "(OPENAI_API_KEY is not set: a scripted model answers)"
    # Once, where code runs without a sandbox.
    assert [line for line in said[1:] if "with no isolation" not in line] == []
    assert len(said) <= 2
    assert re.search(SHOWS[name], ran.stdout, re.DOTALL), ran.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"workspace"}


def test_there_is_an_expectation_for_every_example() -> None:
    assert sorted(SHOWS) == EXAMPLES


def test_examples_are_short() -> None:
    assert [name for name in EXAMPLES if len((FOLDER / name).read_text("utf-8").splitlines()) > LINES] == []


def test_with_a_key_an_example_asks_the_real_api() -> None:
    program = "import model; print(model.connection(['never']))"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=FOLDER,
        env=environment(OPENAI_API_KEY="x"),
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert (ran.stdout, ran.stderr) == ("{}\n", "")
