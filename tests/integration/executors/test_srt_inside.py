"""What code sees and may do in a sandbox of srt's making. One sandbox is shared: all of this leaves it as it is."""

from __future__ import annotations

import json
import os
import stat
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.executors.srt import SrtExecutor
from tests.integration.executors.srt_rig import PACKAGE, need_srt

pytestmark = [pytest.mark.srt, pytest.mark.xdist_group("srt-inside")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("srt")
    for name in ("work/secret", "work/.git", "work/deep/er", "shared", "drop", "other"):
        (place / name).mkdir(parents=True)
    for name in (
        "work/secret/key",
        "work/.env",
        "work/hidden.txt",
        "work/.bashrc",
        "work/deep/er/.key",
        "shared/file",
        "other/file",
    ):
        (place / name).write_text("before")
    (place / "work/.git/config").write_text("[core]\n")
    return place


@pytest.fixture(scope="module")
def executor(place: Path) -> Iterator[SrtExecutor]:
    need_srt()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTD_TEST_SECRET", "planted-secret")
        policy = {
            "readable": [str(place / "shared")],
            "writable": [str(place / "drop")],
            "hidden": ["secret", "hidden.txt"],
            "protected": [".env", "**/.git/hooks", ".git/config", ".bashrc", ".mcp.json", "**/.key"],
        }
        executor = SrtExecutor(place / "work", policy=policy, srt_path=PACKAGE)
        yield executor
        executor.close()


def out(executor: SrtExecutor, code: str) -> str:
    output, code_of_exit = executor.execute_bash(code)
    assert code_of_exit == 0, output
    return output


def test_both_kinds_of_block_run_in_the_workspace(executor: SrtExecutor, place: Path) -> None:
    assert out(executor, "pwd; id -un; echo $HOME; echo x > from-bash; cat from-bash") == (
        f"{place / 'work'}\nagentd\n/home/agentd\nx\n"
    )
    output, code = executor.execute_python("import os, sys; print(os.getcwd()); open('from-python', 'w').write('y')")
    assert (output, code) == (f"{place / 'work'}\n", 0)
    assert (place / "work/from-bash").read_text() == "x\n"
    assert (place / "work/from-python").read_text() == "y"
    assert executor.create_file("made.txt", "z").startswith("created")
    assert out(executor, "cat made.txt; rm made.txt from-bash from-python") == "z"


def test_the_environment_has_nothing_of_the_host(executor: SrtExecutor) -> None:
    assert "AGENTD_TEST_SECRET" not in out(executor, "env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
    assert "planted-secret" not in out(executor, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert out(executor, "env | grep -i proxy; echo end") == "end\n"


def test_what_is_not_named_is_not_seen(executor: SrtExecutor, place: Path) -> None:
    outside = [place / "other/file", Path("/etc/shadow"), Path.home() / ".bashrc", PACKAGE / "package.json"]
    seen = out(executor, "; ".join(f"test -e {path} && echo {path}" for path in outside) + "; true")
    assert seen == ""
    assert out(executor, "ls /root /opt /srv /mnt /sys /var 2>/dev/null | grep -v : | tr -d '\\n'; ls ~") == ""


def test_hidden_paths_are_empty_and_readable_ones_are_read_only(executor: SrtExecutor, place: Path) -> None:
    assert out(executor, "ls secret; cat hidden.txt 2>/dev/null | wc -c") == "0\n"
    assert out(executor, f"cat {place}/shared/file") == "before"
    output, code = executor.execute_bash(f"echo after > {place}/shared/file")
    assert code != 0, output
    assert (place / "shared/file").read_text() == "before"


def test_writing_is_possible_where_the_policy_says_and_nowhere_else(executor: SrtExecutor, place: Path) -> None:
    out(executor, f"echo x > {place}/drop/file && echo x > /tmp/file && echo x > ~/file")
    assert (place / "drop/file").read_text() == "x\n"
    assert not Path("/tmp/file").exists()
    for folder in (
        "/etc",
        "/usr",
        "/opt",
        "",
        "/run",
        "/var",
        "/sys",
        str(place / "shared"),
        str(place / "work/secret"),
    ):
        target = f"{folder}/agentd-test-file"
        output, code = executor.execute_bash(f"echo x > {target}")
        assert code != 0, (target, output)
        assert not Path(target).exists()


@pytest.mark.parametrize("name", [".env", ".git/config", ".bashrc", "deep/er/.key"])
def test_protected_files_stay(executor: SrtExecutor, place: Path, name: str) -> None:
    file = place / "work" / name
    before = file.read_text()
    for attempt in (
        f"echo x > {name}",
        f"rm -f {name}",
        f"mv {name} elsewhere",
        f"echo x > n; mv -f n {name}; rm n; false",
    ):
        output, code = executor.execute_bash(attempt)
        assert code != 0, (attempt, output)
    assert file.read_text() == before
    out(executor, "rm -f n elsewhere")


def test_hooks_cannot_be_put_into_the_repository(executor: SrtExecutor, place: Path) -> None:
    hooks = place / "work/.git/hooks"
    for attempt in ("echo x > .git/hooks/pre-commit", "mv .git gone", "rmdir .git/hooks && mkdir .git/hooks"):
        assert executor.execute_bash(attempt)[1] != 0
    assert os.listdir(hooks) == []


def test_the_workspace_holds_no_file_of_srt(executor: SrtExecutor, place: Path) -> None:
    assert out(executor, "ls -A") == out(executor, "ls -A")
    for name in (".gitconfig", ".gitmodules", ".mcp.json", ".profile", ".vscode", ".idea", ".claude", ".ripgreprc"):
        assert not os.path.lexists(place / "work" / name)
    expected = {".git", ".env", ".bashrc", "secret", "hidden.txt", "deep"}
    assert set(os.listdir(place / "work")) - {"skills", ".agentd"} == expected


def test_processes_of_the_host_and_of_srt_are_not_seen(executor: SrtExecutor) -> None:
    listed = out(executor, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert "socat" not in listed.replace("apply-seccomp", "")
    assert "srt_host" not in listed
    assert "--args" not in listed
    # The numbers in /proc are those that programs go by.
    output, _ = executor.execute_python("import os; print(os.readlink('/proc/self') == str(os.getpid()))")
    assert output == "True\n"


def test_no_unix_socket_is_made_or_reached(executor: SrtExecutor) -> None:
    code = """
        import socket
        for family, kind in ((socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM)):
            try:
                socket.socket(family, kind)
            except PermissionError:
                print("refused")
    """
    assert executor.execute_python(textwrap.dedent(code)) == ("refused\nrefused\n", 0)


def test_no_new_rights_and_no_new_namespaces(executor: SrtExecutor) -> None:
    status = out(executor, "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status").split()
    assert status == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert executor.execute_bash("unshare -Ur true")[1] != 0


def test_the_network_is_closed(executor: SrtExecutor) -> None:
    code = """
        import json, socket
        found = {}
        for name, address in {"outside": ("192.0.2.1", 80), "proxy": ("127.0.0.1", 3128)}.items():
            try:
                socket.create_connection(address, 2).close()
                found[name] = "connected"
            except OSError as error:
                found[name] = error.strerror or str(error)
        with open("/proc/net/dev") as lines:
            found["devices"] = [line.split(":")[0].strip() for line in lines][2:]
        print(json.dumps(found))
    """
    output, exit_code = executor.execute_python(textwrap.dedent(code))
    assert exit_code == 0, output
    found = json.loads(output)
    assert found["devices"] == ["lo"]
    assert found["outside"] == "Network is unreachable"


def test_code_may_listen_on_its_own_loopback(executor: SrtExecutor) -> None:
    code = """
        import socket
        with socket.create_server(("127.0.0.1", 0)) as listening:
            with socket.create_connection(listening.getsockname()) as one:
                one.sendall(b"x")
                print(listening.accept()[0].recv(1))
    """
    assert executor.execute_python(textwrap.dedent(code)) == ("b'x'\n", 0)


def test_who_keeps_what_is_told(executor: SrtExecutor) -> None:
    assert executor.enforcement["allowed_domains"] == "srt (network namespace, proxy)"
    assert executor.enforcement["writable"] == "srt (mount namespace), Landlock"
    assert executor.name == "srt"


def test_files_made_inside_belong_to_the_user(executor: SrtExecutor, place: Path) -> None:
    out(executor, "touch mine; chmod 640 mine")
    status = (place / "work/mine").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), os.getegid(), 0o640)
    out(executor, "rm mine")
