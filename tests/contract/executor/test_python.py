"""Python blocks: a fresh interpreter each, or the session's one namespace."""

from __future__ import annotations

import asyncio

import pytest

from agentd.core.actions import Bindings
from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session


async def test_each_block_is_a_fresh_main_module(session: Session) -> None:
    assert (await session.python("x = 1; print(__name__)")).output == "__main__\n"
    result = await session.python("print('x' in globals())\nimport __main__\nprint(__main__.__dict__ is globals())")
    assert result.output == "False\nTrue\n"


async def test_a_traceback_shows_the_lines_of_the_block_and_no_others(session: Session) -> None:
    result = await session.python("def f():\n    return 1 / 0\n\nf()\n")
    assert result.exit_code == 1
    assert 'File "<block>", line 4, in <module>\n    f()\n' in result.output
    assert 'File "<block>", line 2, in f\n    return 1 / 0\n' in result.output
    assert result.output.count("File ") == 2


async def test_a_syntax_error_is_shown(session: Session) -> None:
    result = await session.python("print('before')\nif x\n")
    assert result.exit_code == 1
    assert 'File "<block>", line 2' in result.output
    assert "SyntaxError" in result.output
    assert result.output.count("File ") == 1


@pytest.mark.parametrize(
    ("code", "status", "output"),
    [
        ("raise SystemExit", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("exit(4)", 4, ""),
        ("import os; os._exit(5)", 5, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("raise KeyboardInterrupt", 130, None),
        ("import atexit; atexit.register(print, 'late'); print('x', end='')", 0, "xlate\n"),
        ("import threading, time\nthreading.Timer(0.1, print, ['timer']).start()", 0, "timer\n"),
        ("import sys; sys.stdout.close()", 0, ""),
        ("import os; os.close(1); os.close(2)", 0, ""),
        ("import os\nif os.fork() == 0: os._exit(9)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))", 0, "9\n"),
    ],
)
async def test_exit_statuses(session: Session, code: str, status: int, output: str | None) -> None:
    result = await session.python(code)
    assert result.exit_code == status, result
    assert output is None or result.output == output


async def test_both_streams_and_subprocesses_keep_their_order(session: Session) -> None:
    code = (
        "import sys, os\nprint('1', end=' ')\nprint('2', file=sys.stderr)\nprint('3')\nos.system('echo 4')\nprint('5')"
    )
    assert (await session.python(code)).output == "1 2\n3\n4\n5\n"


async def test_input_is_at_its_end(session: Session) -> None:
    assert (await session.python("try:\n    input()\nexcept EOFError:\n    print('eof')")).output == "eof\n"


async def test_it_starts_where_bash_has_left_off(session: Session) -> None:
    await session.bash("mkdir d; cd d; export A='1 2'; echo 'name = 5' > own.py")
    assert (await session.python("import os, own; print(os.environ['A'], own.name, os.getcwd())")).output.startswith(
        "1 2 5"
    )


async def test_what_it_changes_does_not_last(session: Session) -> None:
    await session.python(
        "import os; os.chdir('/'); os.environ['GONE'] = '1'; import sys; sys.path.insert(0, '/nowhere')"
    )
    result = await session.python(
        "import os, sys; print(os.getcwd() == '/', 'GONE' in os.environ, '/nowhere' in sys.path)"
    )
    assert result.output == "False False False\n"


async def test_the_packages_of_the_host_can_be_imported(session: Session) -> None:
    result = await session.python("import pytest; print(pytest.__name__)")
    assert (result.exit_code, result.output) == (0, "pytest\n")


async def test_python_dirs_come_first(session: Session, executor: Executor) -> None:
    package = executor.workspace_dir / "packages"
    package.mkdir()
    (package / "mine.py").write_text("value = 'from python_dirs'\n")
    (executor.workspace_dir / "mine.py").write_text("value = 'from the directory'\n")
    assert (await session.python("import mine; print(mine.value)")).output == "from the directory\n"
    session.bindings = Bindings(python_dirs=(str(package),))
    assert (await session.python("import mine; print(mine.value)")).output == "from python_dirs\n"


async def test_one_namespace_lasts_when_asked_for(session: Session) -> None:
    await session.python("x = 1\ndef f(): return x", keep_state=True)
    assert (await session.python("x += 1; print(f())", keep_state=True)).output == "2\n"
    assert (await session.python("print('x' in globals())")).output == "False\n"


async def test_an_error_or_an_exit_leaves_the_namespace(session: Session) -> None:
    await session.python("x = 1", keep_state=True)
    assert (await session.python("x = 2; 1/0", keep_state=True)).exit_code == 1
    assert (await session.python("import sys; sys.exit(6)", keep_state=True)).exit_code == 6
    assert (await session.python("print(x)", keep_state=True)).output == "2\n"


async def test_blocks_of_one_namespace_take_turns(session: Session) -> None:
    await session.python("log = []", keep_state=True)
    slow = session.python("import time; time.sleep(0.3); log.append(1); print('slow')", keep_state=True)
    fast = session.python("log.append(2); print('fast')", keep_state=True)
    results = await asyncio.gather(slow, fast)
    assert [result.output for result in results] == ["slow\n", "fast\n"]
    assert (await session.python("print(log)", keep_state=True)).output == "[1, 2]\n"


async def test_a_namespace_follows_the_shell(session: Session) -> None:
    await session.python("import os", keep_state=True)
    await session.bash("mkdir d; cd d; export NEW=1")
    result = await session.python("print(os.path.basename(os.getcwd()), os.environ['NEW'])", keep_state=True)
    assert result.output == "d 1\n"


async def test_a_lost_namespace_is_told(session: Session) -> None:
    await session.python("x = 1", keep_state=True)
    result = await session.python("import time; print('in', flush=True); time.sleep(60)", keep_state=True, timeout=0.5)
    assert (result.exit_code, result.reason) == (124, "timeout")
    assert result.output.startswith("in\n")
    assert "namespace is lost" in result.output
    assert (await session.python("print('x' in globals())", keep_state=True)).output == "False\n"
    result = await session.python("import os; os._exit(3)", keep_state=True)
    assert result.exit_code == 3
    assert "namespace is lost" in result.output
