"""Reading back what a shell exports: against bash itself."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.executors.runner.bash import parse_exports, parse_state
from agentd.executors.runner.state import Block, Shell, lasting
from agentd.executors.runner.wire import Header

VALUES = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).map(lambda name: "T_" + name),
    st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"")),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.sampled_from(["C", "C.UTF-8"]))
def test_any_environment_is_read_as_bash_prints_it(env: dict[str, bytes], locale: str) -> None:
    whole: dict[bytes, bytes] = {b"LC_ALL": locale.encode(), **{name.encode(): value for name, value in env.items()}}
    argv = ["/bin/bash", "--norc", "--noprofile", "-c", "declare -ax ARRAY=(1 '2 3'); export UNSET; export -p"]
    printed = subprocess.run(argv, env=whole, capture_output=True, check=True).stdout  # type: ignore[arg-type]
    read = parse_exports(printed.decode("utf-8", "surrogateescape"))
    assert {name: read[name].encode("utf-8", "surrogateescape") for name in env} == env
    assert not {"ARRAY", "UNSET"} & set(read)


def test_a_directory_with_a_newline() -> None:
    cwd, env = parse_state(b'/a\nb\ndeclare -x HOME="/root"\ndeclare -x SHLVL="1"\n')
    assert (cwd, env) == ("/a\nb", {"HOME": "/root"})


def block(env: dict[str, str], bin_dirs: list[str], before: dict[str, str]) -> Block:
    from agentd.executors.runner.output import Output

    shell = Shell(1, "/", before)
    output = Output("/nowhere", "x", 100, 100, 100)
    return Block(Header({"id": 1, "kind": "bash", "env": env, "bin": bin_dirs}), "", shell, output, (), 0)


def test_what_belonged_to_one_block_does_not_last() -> None:
    one = block({"TOKEN": "t", "HOME": "/x"}, ["/tools"], {"HOME": "/root", "PATH": "/bin"})
    after = {"TOKEN": "t", "HOME": "/x", "PATH": "/tools:/bin:/mine", "NEW": "1"}
    assert lasting(after, one) == {"HOME": "/root", "PATH": "/bin:/mine", "NEW": "1"}
    assert lasting({"TOKEN": "changed"}, one) == {"TOKEN": "changed"}
