"""Bash blocks: what lasts from one to the next, and what harms only itself."""

from __future__ import annotations

import asyncio
import os

import pytest

from agentd.core.actions import Bindings
from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session


async def test_output_and_exit_code(session: Session) -> None:
    result = await session.bash("echo out; echo err >&2; echo out2; exit 7")
    assert (result.exit_code, result.output, result.reason) == (7, "out\nerr\nout2\n", "")
    assert "".join(session.live) == result.output
    assert result.total_bytes == len(result.output)


async def test_directory_and_exported_variables_last_and_nothing_else(session: Session) -> None:
    await session.bash("mkdir -p 'a b'; cd 'a b'; export KEPT=1; LOCAL=2; f() { :; }; alias x=y; set -f; umask 077")
    assert await session.out('basename "$PWD"; echo "$KEPT-$LOCAL-$(type -t f)-$-"') == "a b\n1---hBc\n"
    assert await session.out("unset KEPT; cd ..") == ""
    assert await session.out('basename "$PWD"; echo "${KEPT-gone}"') == "workspace\ngone\n"


VALUES = [
    "",
    "plain",
    "two words",
    "new\nline",
    "quote's",
    'double"',
    "$HOME `x` \\n \\",
    "\t\x01\x7f",
    "żółw €",
    "=a=b",
    "'\"\n'",
]


@pytest.mark.parametrize("value", VALUES)
async def test_any_value_of_a_variable_survives(session: Session, value: str) -> None:
    literal = "$'" + "".join(f"\\x{byte:02x}" for byte in value.encode()) + "'"
    await session.bash(f"export V={literal} AFTER=1")
    assert await session.out('printf "%s" "$V"; printf "|%s" "$AFTER"') == value + "|1"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("export S=1; exit 3", 3),
        ("export S=1; set -e; false; export S=2", 1),
        ("trap 'echo bye' EXIT; export S=1", 0),
        ("trap 'exit 9' EXIT; export S=1; exit 2", 9),
        ("trap 'echo x' INT TERM EXIT; export S=1; trap - EXIT", 0),
        ("set -euo pipefail; trap 'echo err' ERR; export S=1; false", 1),
        ("export S=1; (trap 'echo sub' EXIT; export S=2)", 0),
        ("export S=1; exec >&- 2>&-", 0),
        ("set -x; export S=1", 0),
        ("export S=1; kill -TERM $$", 143),
    ],
)
async def test_state_is_saved_however_the_script_ends(session: Session, script: str, code: int) -> None:
    assert (await session.bash(script)).exit_code == code
    assert await session.out("echo $S") == "1\n"


async def test_a_trap_of_the_block_sees_the_exit_status(session: Session) -> None:
    result = await session.bash("trap 'echo status $?' EXIT; exit 5")
    assert (result.exit_code, result.output) == (5, "status 5\n")


@pytest.mark.parametrize(
    "script",
    [
        "echo 'open",
        'echo "open',
        "if then fi",
        "cat <<EOF\nnever closed",
        "exec true",
        "exec >&-",
        "kill -9 $$",
        "((",
        "}",
    ],
)
async def test_a_broken_block_harms_only_itself(session: Session, script: str) -> None:
    await session.bash("export S=1; mkdir -p d; cd d")
    await session.bash(script)
    assert await session.out('echo "$S ${PWD##*/}"') == "1 d\n"


async def test_a_message_names_the_line_of_the_block(session: Session) -> None:
    result = await session.bash("true\nno_such_command_here\n")
    assert result.exit_code == 127
    assert "line 2: no_such_command_here: command not found" in result.output


async def test_standard_input_is_empty(session: Session) -> None:
    assert await session.out("cat; read x || echo eof") == "eof\n"


async def test_a_here_document(session: Session) -> None:
    assert await session.out("cat <<'EOF'\n$a `b` \\c\nEOF\n") == "$a `b` \\c\n"


async def test_a_script_larger_than_an_argument_may_be(session: Session) -> None:
    long = "x" * 300_000
    assert await session.out(f"v='{long}'; echo ${{#v}}") == "300000\n"


async def test_a_directory_that_is_gone_is_left_with_a_note(session: Session) -> None:
    await session.bash("mkdir d; cd d")
    await session.bash("rmdir ../d")
    result = await session.bash("basename $PWD")
    assert result.output.endswith("workspace\n")
    assert "is gone" in result.output


async def test_what_concurrent_blocks_change_is_put_together(session: Session) -> None:
    await session.bash("mkdir -p side; export GONE=1 SAME=1")
    blocks = (
        "export A=1; sleep 0.3", "cd side; sleep 0.1", "unset GONE; sleep 0.2", "export B=2", "sleep 0.25; : nothing",
    )  # fmt: skip
    await asyncio.gather(*(session.bash(block) for block in blocks))
    assert await session.out('echo "$A $B ${GONE-gone} $SAME ${PWD##*/}"') == "1 2 gone 1 side\n"
    await session.bash("unset A; cd ..")
    assert await session.out('echo "${A-gone} $B ${PWD##*/}"') == "gone 2 workspace\n"


async def test_the_last_of_concurrent_blocks_to_end_wins(session: Session) -> None:
    first = session.bash("echo first; sleep 0.6; export WHO=slow")
    second = session.bash("echo second; export WHO=fast; sleep 0.1; echo second")
    results = await asyncio.gather(first, second)
    assert [result.output for result in results] == ["first\n", "second\nsecond\n"]
    assert await session.out("echo $WHO") == "slow\n"


async def test_sessions_have_nothing_in_common(executor: Executor) -> None:
    one, two = Session(await executor.open("one")), Session(await executor.open("two"))
    await one.bash("export ONLY=one; mkdir -p sub; cd sub")
    assert await two.out('echo "${ONLY-none} ${PWD##*/}"') == "none workspace\n"


async def test_the_environment_of_one_block_stays_with_it(session: Session) -> None:
    assert await session.run_env("echo $EXTRA", {"EXTRA": "1"}) == "1\n"
    assert await session.out("echo ${EXTRA-none}") == "none\n"


async def test_bin_dirs_come_first_on_the_path_and_do_not_pile_up(session: Session, executor: Executor) -> None:
    tools = executor.workspace_dir / "tools"
    tools.mkdir()
    (tools / "greet").write_text("#!/bin/sh\necho greetings\n")
    (tools / "greet").chmod(0o755)
    session.bindings = Bindings(bin_dirs=(str(tools),))
    for _ in range(3):
        assert await session.out("greet; export X=$RANDOM") == "greetings\n"
    assert (await session.out("echo $PATH")).count(str(tools)) == 1


async def test_no_variable_of_the_host_is_seen(monkeypatch: pytest.MonkeyPatch, make: object, session: Session) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    assert "sk-planted" not in await session.out(
        "env; set; cat /proc/$PPID/environ /proc/self/environ | tr '\\0' '\\n'"
    )
    seen = await session.python("import os, json; print(json.dumps(dict(os.environ)))")
    assert "sk-planted" not in seen.output
    assert os.environ["OPENAI_API_KEY"] == "sk-planted"


async def test_the_built_environment_has_what_programs_expect(session: Session) -> None:
    names = (await session.out("for n in PATH HOME USER SHELL TERM; do [[ ${!n} ]] && echo $n; done")).split()
    assert names == ["PATH", "HOME", "USER", "SHELL", "TERM"]
    assert await session.out("printf 'ż' | wc -m") == "1\n"


async def test_a_nul_character_is_refused(session: Session) -> None:
    result = await session.bash("echo a\0b")
    assert (result.exit_code, result.reason) == (2, "refused")
