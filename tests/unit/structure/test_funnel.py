"""What may start a process, run a string as code, or touch the host's environment, and where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.structure.source import Judge, Source, dotted_name, offences, sources

# Model-written code becomes a process in executors/ only, an MCP server in mcp/ only.
MAY_START_PROCESSES = ("agentd/executors/", "agentd/mcp/")
STARTS_A_PROCESS = re.compile(
    r"(subprocess|multiprocessing|pty|asyncio\.subprocess|_posixsubprocess|concurrent\.futures\.process)(\.|$)"
    r"|(os|posix)\.(fork|forkpty|posix_spawnp?|system|popen|exec[vl]\w*|spawn[vl]\w*)$"
    r"|asyncio\.create_subprocess_\w+$|(.*\.)?subprocess_(exec|shell)$"
    r"|(anyio\.(run_process|open_process)|psutil\.Popen|concurrent\.futures\.ProcessPoolExecutor)$"
)

# What runs inside the sandbox is there to run code, and its environment is its own.
RUNS_IN_THE_SANDBOX = re.compile(r"agentd/executors/runner(/|\w*\.py$)")
RUNS_A_STRING = re.compile(
    r"(builtins\.)?(eval|exec)$|(pickle|_pickle|cPickle|marshal|shelve|dill|cloudpickle|jsonpickle)(\.|$)"
)
WRITES = {"update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__"}


def starts_processes(file: Source) -> Iterator[tuple[int, str]]:
    return (found for found in [*file.imports(), *file.used()] if STARTS_A_PROCESS.match(found[1]))


def runs_strings(file: Source) -> Iterator[tuple[int, str]]:
    return (found for found in [*file.imports(), *file.used()] if RUNS_A_STRING.match(found[1]))


def uses_a_host_shell(file: Source) -> Iterator[tuple[int, str]]:
    known = file.names()
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and any(asks_for_a_shell(node, option, known) for option in node.keywords):
            yield node.lineno, "shell="
        elif isinstance(node, ast.Attribute) and node.attr in {"create_subprocess_shell", "subprocess_shell"}:
            yield node.lineno, node.attr
    yield from ((line, name) for line, name in file.used() if re.match(r"os\.(system|popen)$", name))


def asks_for_a_shell(call: ast.Call, option: ast.keyword, known: dict[str, str]) -> bool:
    """Whether it says `shell=True`, or to `subprocess` `shell=` anything but `False`."""
    if option.arg != "shell":
        return False
    if isinstance(option.value, ast.Constant):
        return bool(option.value.value)
    head = dotted_name(call.func).partition(".")[0]
    return known.get(head, head).startswith("subprocess")


def writes_the_environment(file: Source) -> Iterator[tuple[int, str]]:
    known = file.names()

    def is_environ(node: ast.AST) -> bool:
        head, _, rest = dotted_name(node).partition(".")
        return ".".join(filter(None, (known.get(head, head), rest))) in {"os.environ", "os.environb"}

    for node in ast.walk(file.tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and is_environ(node.value):
            yield node.lineno, "os.environ[…]"
        elif isinstance(node, ast.Attribute) and node.attr in WRITES and is_environ(node.value):
            yield node.lineno, f"os.environ.{node.attr}"
        elif (
            isinstance(node, ast.Attribute | ast.Name)
            and isinstance(node.ctx, ast.Store | ast.Del)
            and is_environ(node)
        ):
            yield node.lineno, "os.environ"
    yield from ((line, name) for line, name in file.used() if name in {"os.putenv", "os.unsetenv"})


def test_processes_are_started_in_executors_and_mcp_only() -> None:
    others = [file for file in sources("agentd") if not file.path.startswith(MAY_START_PROCESSES)]
    assert offences(others, starts_processes) == []


def test_no_string_reaches_a_shell_of_the_host() -> None:
    assert offences(sources("agentd", "examples", "benchmarks"), uses_a_host_shell) == []


def test_only_the_runner_runs_strings_and_nothing_is_unpickled() -> None:
    others = [file for file in sources("agentd") if not RUNS_IN_THE_SANDBOX.match(file.path)]
    assert offences(others, runs_strings) == []


def test_the_environment_of_the_host_is_never_written() -> None:
    # LiteLLM reads two variables while it is imported; the environment is restored then.
    restored = "agentd/llm/litellm_import.py"
    others = [file for file in sources("agentd") if not RUNS_IN_THE_SANDBOX.match(file.path) and file.path != restored]
    assert offences(others, writes_the_environment) == []


@pytest.mark.parametrize(
    ("judge", "text"),
    [
        (starts_processes, "import subprocess"),
        (starts_processes, "from asyncio import create_subprocess_exec as start"),
        (starts_processes, "import asyncio as a\nasync def f(): await a.create_subprocess_exec('x')"),
        (starts_processes, "import os\nos.posix_spawn('x', [], {})"),
        (starts_processes, "from os import execvp"),
        (starts_processes, "async def f(loop): await loop.subprocess_exec(p, 'x')"),
        (uses_a_host_shell, "run('x', shell=True)"),
        (uses_a_host_shell, "import subprocess as s\ns.run('x', shell=flag)"),
        (uses_a_host_shell, "from subprocess import Popen\nPopen('x', shell=flag)"),
        (uses_a_host_shell, "import os\nos.system('x')"),
        (runs_strings, "eval('1')"),
        (runs_strings, "from marshal import loads"),
        (writes_the_environment, "import os\nos.environ['A'] = 'b'"),
        (writes_the_environment, "from os import environ as e\ndel e['A']"),
        (writes_the_environment, "import os\nos.environ |= {}"),
        (writes_the_environment, "import os\nos.environ.update(A='b')"),
        (writes_the_environment, "import os\nos.putenv('A', 'b')"),
    ],
)
def test_the_judges_see(judge: Judge, text: str) -> None:
    assert offences([Source("x.py", text)], judge) != []


@pytest.mark.parametrize(
    ("judge", "text"),
    [
        (starts_processes, "import os\nos.getpid()\nexecute = 1\nself.executor.spawn()"),
        (uses_a_host_shell, "run(['x'], shell=False)\nSettings(shell=path)"),
        (runs_strings, "import ast, re\nast.literal_eval('1')\nre.compile('x')\nmodel.eval()"),
        (writes_the_environment, "import os\nenv = dict(os.environ)\nenv['A'] = os.environ['B']\nos.environ.get('A')"),
    ],
)
def test_the_judges_let_pass(judge: Judge, text: str) -> None:
    assert offences([Source("x.py", text)], judge) == []
