"""Tool calls from Python blocks."""

from __future__ import annotations

import pytest

from agentd.core.actions import Bindings
from tests.contract.executor.harness import SOURCE, Session


async def test_tools_are_in_scope_and_can_be_imported(session: Session) -> None:
    code = """
print(echo(value=1))
from lib.tools import echo as e
print(e(value='ż'))
import lib.tools
print(lib.tools.echo(value=[None]))
"""
    result = await session.python(code)
    assert result.output == "1\nż\n[None]\n"
    assert session.door.requests[0] == {"tool": "echo", "arguments": {"value": 1}}


async def test_a_thousand_calls(session: Session) -> None:
    result = await session.python("print(sum(echo(value=i) for i in range(1000)))")
    assert result.output == "499500\n"
    assert len(session.door.requests) == 1000


@pytest.mark.parametrize("size", [1, 65_000, 70_000, 3_000_000])
async def test_arguments_and_results_of_any_size(session: Session, size: int) -> None:
    result = await session.python(f"v = 'é\\n' * {size}\nprint(echo(value=v) == v, echo(value=1))")
    assert result.output == "True 1\n"


async def test_a_failure_is_an_exception_with_the_tools_own_words(session: Session) -> None:
    code = """
from lib.tools import ToolError
try:
    broken(reason='no such file')
except ToolError as error:
    print(error)
"""
    assert (await session.python(code)).output == "no such file\n"
    result = await session.python("broken()")
    assert result.exit_code == 1
    assert "ToolError: no reason" in result.output
    assert "runner" not in result.output


async def test_names_of_the_block_win_over_tools_and_builtins_over_both(session: Session) -> None:
    session.bindings = Bindings(SOURCE + "\ndef open(*, value):\n    return 'tool'\n", "v2")
    code = """
import builtins
echo = 5
print(echo)
print(open is builtins.open)
from lib.tools import open
print(open is builtins.open)
"""
    assert (await session.python(code)).output == "5\nTrue\nFalse\n"


async def test_new_bindings_replace_the_old(session: Session) -> None:
    assert (await session.python("print(echo(value=1))")).output == "1\n"
    await session.python("kept = 1", keep_state=True)
    session.bindings = Bindings("def other(*, value):\n    return _call('echo', {'value': [value]})\n", "v2")
    assert (
        await session.python("print(other(value=1))\ntry:\n    echo\nexcept NameError:\n    print('gone')")
    ).output == "[1]\ngone\n"
    assert (await session.python("print(other(value=kept))", keep_state=True)).output == "[1]\n"
    session.bindings = Bindings(SOURCE, "v1")
    assert (await session.python("print(echo(value=3))")).output == "3\n"


async def test_more_versions_of_bindings_than_are_kept(session: Session) -> None:
    for round_ in range(2):
        for number in range(12):
            session.bindings = Bindings(f"def which():\n    return {number}\n", f"n{number}")
            assert (await session.python("print(which())")).output == f"{number}\n", round_


async def test_bindings_that_cannot_be_loaded_break_only_the_tools(session: Session) -> None:
    session.bindings = Bindings("def f(:\n", "bad")
    assert (await session.python("print('works')")).output == "works\n"
    result = await session.python("import lib.tools")
    assert result.exit_code == 1
    assert "ImportError: lib.tools could not be made: SyntaxError" in result.output


async def test_a_package_called_lib_in_the_workspace_is_not_hidden(session: Session) -> None:
    await session.bash("mkdir lib; echo 'x = 1' > lib/mine.py")
    assert (
        await session.python("import lib.mine, lib.tools\nprint(lib.mine.x, lib.tools.echo(value=2))")
    ).output == "1 2\n"


async def test_threads_call_at_the_same_time(session: Session) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(sum(pool.map(lambda i: echo(value=i), range(400))))\n"
        "    list(pool.map(lambda i: slow(seconds=0.2), range(8)))\n"
        "print(echo(value='alone again'))"
    )
    assert (await session.python(code)).output == f"{sum(range(400))}\nalone again\n"
    assert session.door.together > 1


async def test_a_forked_child_is_told_that_it_cannot_call(session: Session) -> None:
    code = (
        "import os\n"
        "if os.fork() == 0:\n"
        "    try:\n        echo(value=1)\n    except Exception as error:\n        print(type(error).__name__, error)\n"
        "    os._exit(0)\n"
        "os.wait()\nprint(echo(value='parent'))"
    )
    output = (await session.python(code)).output
    assert output.startswith("ToolError tools cannot be called from a forked child")
    assert output.endswith("parent\n")


async def test_a_call_given_up_by_an_alarm_does_not_mix_up_answers(session: Session) -> None:
    code = (
        "import signal\n"
        "def ring(*_): raise TimeoutError\n"
        "signal.signal(signal.SIGALRM, ring)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "try:\n    slow(seconds=0.4)\nexcept TimeoutError:\n    print('late')\n"
        "print(echo(value='mine'))"
    )
    assert (await session.python(code)).output == "late\nmine\n"


async def test_tools_in_a_lasting_namespace(session: Session) -> None:
    for number in range(3):
        assert (await session.python(f"print(echo(value={number}))", keep_state=True)).output == f"{number}\n"


async def test_arguments_that_are_not_json_are_an_error_in_the_block(session: Session) -> None:
    result = await session.python(
        "try:\n    echo(value={1, 2})\nexcept TypeError as error:\n    print(error)\nprint(echo(value=1))"
    )
    assert result.output == "Object of type set is not JSON serializable\n1\n"
    assert len(session.door.requests) == 1


async def test_what_a_door_raises_is_an_answer_too(session: Session) -> None:
    class Raising:
        def call(self, request: bytes) -> bytes:
            raise RuntimeError("door fell off")

    session.door = Raising()  # pyright: ignore[reportAttributeAccessIssue]
    result = await session.python("echo(value=1)")
    assert "ToolError: RuntimeError: door fell off" in result.output
