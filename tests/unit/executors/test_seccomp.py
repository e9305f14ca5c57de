"""The filter of system calls: every refusal by the real call, and everyday programs that must not notice it."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import signal
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.seccomp import MACHINES, NEWEST, numbers, program
from tests.unit.executors.walled import Walls, ask, filtered, run

HERE = platform.machine()
ABSENT = {"openat2", "clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "process_madvise"}
MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "open": 2, "openat": 3}
MODES |= {"mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2}
LOOKED_INTO = {"clone", "ioctl", "personality", "socket", "socketpair", *MODES}
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def judge(filter_: bytes, machine: int, number: int, *args: int) -> int:
    """Run a filter as the kernel would, and return its verdict."""
    data = struct.pack("<IIQ6Q", number, machine, 0, *args, *(0,) * (6 - len(args)))
    at, value = 0, 0
    while True:
        code, then, other, operand = struct.unpack_from("<HBBI", filter_, at * 8)
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:
            value &= operand
        elif code == 0x05:
            at += operand
        elif code == 0x06:
            return operand
        else:
            at += then if {0x15: value == operand, 0x25: value > operand, 0x45: bool(value & operand)}[code] else other


@pytest.mark.parametrize("machine", MACHINES)
def test_exactly_what_is_named_is_not_let_through(machine: str) -> None:
    verdicts = {number: judge(program(machine), MACHINES[machine], number) for number in range(NEWEST + 1)}
    named = {number: name for name, number in numbers(machine).items()}
    assert {number for number, verdict in verdicts.items() if verdict != ALLOW} == {
        number for number, name in named.items() if name not in LOOKED_INTO - {"socket", "socketpair"}
    }
    for number, name in named.items():
        if name not in LOOKED_INTO:
            assert verdicts[number] == FAIL | (errno.ENOSYS if name in ABSENT else errno.EPERM), name
    assert len(program(machine)) % 8 == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_that_are_not_of_this_machine(machine: str) -> None:
    for number in (NEWEST + 1, 0x40000000 | 39, 0xFFFFFFFF):
        assert judge(program(machine), MACHINES[machine], number) == FAIL | errno.ENOSYS
    for other in (0x40000003, 0x40000028, *(value for name, value in MACHINES.items() if name != machine)):
        assert judge(program(machine), other, 20) == KILL


@given(
    st.sampled_from(list(MACHINES)), st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 70), min_size=4, max_size=4)
)
def test_the_upper_half_of_an_argument_changes_nothing(machine: str, args: list[int]) -> None:
    made, known = program(machine, vsock=True), numbers(machine)
    for name in LOOKED_INTO & set(known):
        low = judge(made, MACHINES[machine], known[name], *(arg & 0xFFFFFFFF for arg in args))
        assert judge(made, MACHINES[machine], known[name], *args) == low


@pytest.mark.parametrize("machine", MACHINES)
def test_no_file_lends_the_rights_of_its_owner(machine: str) -> None:
    known = numbers(machine)
    for name, at in MODES.items():
        if name in known:
            for mode in (0o4755, 0o2755, 0o6000):
                assert judge(program(machine), MACHINES[machine], known[name], *(0,) * at, mode) == FAIL | errno.EPERM
            assert judge(program(machine), MACHINES[machine], known[name], *(0,) * at, 0o1777) == ALLOW


def test_the_bits_that_lend_rights_are_refused_for_real(tmp_path: Path) -> None:
    code = """
os.chdir(sys.argv[1])
open("file", "w").close()
answer([
    attempt(os.chmod, "file", 0o4755),
    attempt(os.chmod, "file", 0o2755),
    attempt(os.open, "made", os.O_CREAT | os.O_WRONLY, 0o4755),
    attempt(os.mkdir, "folder", 0o2755),
    attempt(os.mkfifo, "fifo", 0o4644),
    attempt(os.chmod, "file", 0o1755),
])
"""
    assert ask(filtered(program()), code, str(tmp_path)) == [*["EPERM"] * 5, ""]
    assert sorted(os.listdir(tmp_path)) == ["file"]


@pytest.mark.parametrize("machine", MACHINES)
def test_families_of_sockets(machine: str) -> None:
    for name in ("socket", "socketpair"):
        verdicts = {
            family: judge(program(machine), MACHINES[machine], numbers(machine)[name], family, 1, 0)
            for family in range(60)
        }
        assert {family for family, verdict in verdicts.items() if verdict == ALLOW} == {1, 2, 10, 16}
        assert {verdict for verdict in verdicts.values() if verdict != ALLOW} == {FAIL | errno.EAFNOSUPPORT}


def test_a_virtual_machine_may_reach_its_host() -> None:
    machine, number = MACHINES["aarch64"], numbers("aarch64")["socket"]
    assert judge(program("aarch64"), machine, number, 40, 1, 0) == FAIL | errno.EAFNOSUPPORT
    assert judge(program("aarch64", vsock=True), machine, number, 40, 1, 0) == ALLOW


def test_a_machine_without_a_table_is_an_error() -> None:
    with pytest.raises(ExecutorUnavailable, match=r"'riscv64', only for aarch64, x86_64"):
        program("riscv64")


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    file = Path("/usr/include", header)
    if not file.exists():
        pytest.skip(f"not installable: the headers of another kind of machine ({file})")
    defined = dict(re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", file.read_text(), re.MULTILINE))
    known = {name: number for name, number in numbers(machine).items() if name in defined}
    assert len(known) > 55
    assert known == {name: int(defined[name]) for name in known}


EVERY = """
answer({name: attempt(call, number, -1, -1, -1, -1, -1, -1) for name, number in json.loads(sys.argv[1]).items()})
"""


def test_every_refused_call_is_refused() -> None:
    asked = {name: number for name, number in numbers(HERE).items() if name not in LOOKED_INTO}
    answers = ask(filtered(program()), EVERY, json.dumps(asked))
    assert answers == {name: "ENOSYS" if name in ABSENT else "EPERM" for name in asked}
    # Without the filter these say other things, whoever asks: it is what has refused them.
    plain = {
        name: asked[name] for name in ("unshare", "setns", "ptrace", "process_vm_readv", "kcmp", "keyctl", "clone3")
    }
    unfiltered = ask(Walls(), EVERY, json.dumps(plain))
    assert isinstance(unfiltered, dict)
    assert not {"EPERM", "ENOSYS"} & set(unfiltered.values())


def test_new_name_spaces_and_terminals() -> None:
    code = """
numbers = json.loads(sys.argv[1])
spaces = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
ours, theirs = os.openpty()
answer({
    "clone": [attempt(call, numbers["clone"], flag | signal.SIGCHLD, 0, 0, 0, 0) for flag in (*spaces, 17 << 28)],
    "ioctl": [attempt(call, numbers["ioctl"], theirs, request, b"x") for request in (0x5412, 0x541C, 1 << 32 | 0x5412)],
    "size": attempt(call, numbers["ioctl"], theirs, 0x5413, ctypes.create_string_buffer(64)),
    "personality": [attempt(call, numbers["personality"], kind) for kind in (0xFFFFFFFF, 0, 0x40000, 8, 0x400000)],
})
"""
    assert ask(filtered(program()), code, json.dumps(numbers(HERE))) == {
        "clone": ["EPERM"] * 8,
        "ioctl": ["EPERM"] * 3,
        "size": "",
        "personality": ["", "", "", "EPERM", "EPERM"],
    }


def test_sockets() -> None:
    code = """
def sockets(*kinds):
    return [attempt(socket.socket, *kind) for kind in kinds]
inet, stream, raw = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_RAW
answer({
    "families": sockets((17, raw), (38, 5), (40, stream), (31, raw, 1), (15, raw, 2), (29, raw), (44, raw)),
    "raw": sockets((inet, raw, 1), (socket.AF_INET6, raw, 58), (inet, 10, 768), (inet, 6, 33), (inet, raw | 0x800, 1)),
    "protocols": sockets((inet, stream, 132), (inet, stream, 262), (16, raw, 12), (16, raw, 6), (16, raw, 16)),
    "fine": sockets((inet, stream), (inet, socket.SOCK_DGRAM), (inet, stream | 0x80800, 6), (1, stream), (1, 2), (1, 5),
                    (16, raw, 0), (16, 2, 0)),
    "pairs": [attempt(socket.socketpair), attempt(socket.socketpair, 30, 5)],
})
"""
    assert ask(filtered(program()), code) == {
        "families": ["EAFNOSUPPORT"] * 7,
        "raw": ["EPERM"] * 5,
        "protocols": ["EPROTONOSUPPORT"] * 5,
        "fine": [""] * 8,
        "pairs": ["", "EAFNOSUPPORT"],
    }


@pytest.mark.skipif(HERE != "x86_64", reason="not installable: another kind of machine")
def test_the_calls_of_32_bits_end_the_process() -> None:
    code = """
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
answer(getpid() == os.getpid())
"""
    plain = run(Walls(), code)
    if plain.returncode == -signal.SIGSEGV:
        pytest.skip("not installable: this kernel has no 32-bit calls")
    assert plain.stdout == "true\n"
    assert run(filtered(program()), code).returncode == -signal.SIGSYS


def test_the_filter_of_another_machine_ends_the_process() -> None:
    other = next(name for name in MACHINES if name != HERE)
    assert run(filtered(program(other)), "answer(1)").returncode == -signal.SIGSYS


def test_a_filter_cannot_be_taken_off_but_another_put_on() -> None:
    code = """
before = [line for line in open("/proc/self/status") if line.startswith(("Seccomp", "NoNewPrivs"))]
walls._filter(bytes.fromhex("06000000") + (0x7fff0000).to_bytes(4, "little"))
answer([before, attempt(call, int(sys.argv[1]), 0)])
"""
    answered = ask(filtered(program()), code, str(numbers(HERE)["unshare"]))
    assert answered == [["NoNewPrivs:\t1\n", "Seccomp:\t2\n", "Seccomp_filters:\t1\n"], "EPERM"]


def test_python_keeps_working() -> None:
    code = """
sys.path[:0] = []
import multiprocessing, concurrent.futures, tempfile, asyncio
done = {}
thread = threading.Thread(target=lambda: done.update(thread=True)); thread.start(); thread.join()
with multiprocessing.get_context("fork").Pool(2) as pool:
    done["pool"] = pool.map(abs, [-1, -2])
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], os.environ)
done["spawn"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
done["vfork"] = subprocess.run(["sh", "-c", "echo out | cat"], capture_output=True, text=True).stdout
fd = os.memfd_create("x"); os.write(fd, b"memory"); done["memfd"] = os.pread(fd, 6, 0).decode()
async def main():
    server = await asyncio.start_server(lambda r, w: (w.write(b"hello"), w.close()), "127.0.0.1", 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    return (await reader.read()).decode()
done["loop"] = asyncio.run(main())
done["names"] = bool(socket.getaddrinfo("localhost", 80)) and bool(socket.if_nameindex())
answer(done)
"""
    assert ask(filtered(program()), code) == {
        "thread": True,
        "pool": [1, 2],
        "spawn": 3,
        "vfork": "out\n",
        "memfd": "memory",
        "loop": "hello",
        "names": True,
    }


def shell(script: str, folder: Path) -> str:
    """Run a script behind the filter and return what it prints; its failure is one."""
    code = "os.chdir(sys.argv[2]); os.execv('/bin/sh', ['sh', '-ec', sys.argv[1]])"
    done = run(filtered(program()), code, script, str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_git_keeps_working(tmp_path: Path) -> None:
    script = """
git init -q -b main a && cd a && git config user.name n && git config user.email e
echo 1 > f && git add f && git commit -qm one && git gc -q && git clone -q . ../b && cd ../b && git log --format=%s
"""
    assert shell(script, tmp_path) == "one"


def test_node_and_npm_keep_working(tmp_path: Path) -> None:
    (tmp_path / "t.js").write_text("""
const { Worker, isMainThread, parentPort } = require("worker_threads");
if (!isMainThread) { parentPort.postMessage(2); } else {
  const worker = new Worker(__filename);
  worker.on("message", (n) => require("fs").promises.readFile(__filename).then((text) =>
    console.log(n, text.length > 10, require("child_process").execFileSync("echo", ["3"]).toString())));
}
""")
    assert shell("node t.js; npm --version >/dev/null", tmp_path) == "2 true 3"


def test_gcc_and_make_keep_working(tmp_path: Path) -> None:
    missing = [name for name in ("gcc", "make") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"there is no {' and no '.join(missing)}: install build-essential")
    (tmp_path / "a.c").write_text('#include <stdio.h>\nint main(void) { puts("built"); return 0; }\n')
    (tmp_path / "Makefile").write_text("all: a b\n%: a.c\n\tgcc -o $@ $<\n")
    assert shell("make -s -j2 && ./a && ./b", tmp_path) == "built\nbuilt"
    assert os.access(tmp_path / "a", os.X_OK)
