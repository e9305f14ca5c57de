"""What the runner's walls keep in, asked by real processes: as root, as an ordinary user, and inside of bubblewrap."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.executors.landlock import BIND_ABI, LEAST_ABI, landlock_abi
from agentd.executors.seccomp import program
from tests.unit.executors.walled import ORDINARY, Walls, ask, filtered, locked, pairs, run, skip_unless_root

ABI = landlock_abi()
SCOPES_ABI = 6
pytestmark = pytest.mark.skipif(ABI < LEAST_ABI, reason=f"not installable: Landlock of this kernel ({ABI})")
needs_bind = pytest.mark.skipif(ABI < BIND_ABI, reason=f"not installable: Landlock of this kernel ({ABI})")
needs_scopes = pytest.mark.skipif(ABI < SCOPES_ABI, reason=f"not installable: Landlock of this kernel ({ABI})")


@pytest.fixture(params=[0, ORDINARY], ids=["ourselves", "ordinary"])
def user(request: pytest.FixtureRequest) -> int:
    if request.param:
        skip_unless_root()
    return request.param


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that everybody could write to, were it not for the walls."""
    # Another user cannot go where pytest has its folders.
    with tempfile.TemporaryDirectory(prefix="agentd-walls-") as name:
        folder = Path(name)
        for half in ("in", "out"):
            (folder / half / "a").mkdir(parents=True)
            (folder / half / "b").mkdir()
            (folder / half / "a/file").write_text("old")
        for entry in (folder, *folder.rglob("*")):
            entry.chmod(0o777)
            if os.geteuid() == 0:
                os.chown(entry, ORDINARY, ORDINARY)  # hard links are made of one's own files only
        yield folder


WRITING = """
place, ways = sys.argv[1], {
    "new": lambda at: open(at + "/new", "x"),
    "old": lambda at: open(at + "/a/file", "r+"),
    "truncate": lambda at: os.truncate(at + "/a/file", 1),
    "folder": lambda at: os.mkdir(at + "/folder"),
    "link": lambda at: os.symlink("/etc/passwd", at + "/link"),
    "fifo": lambda at: os.mkfifo(at + "/fifo"),
    "socket": lambda at: socket.socket(socket.AF_UNIX).bind(at + "/socket"),
    "rename": lambda at: os.rename(at + "/a/file", at + "/b/moved"),
    "hard": lambda at: os.link(at + "/b/moved", at + "/a/file"),
    "remove": lambda at: os.unlink(at + "/a/file"),
    "rmdir": lambda at: os.rmdir(at + "/a"),
}
answer({name: [attempt(way, place + "/in"), attempt(way, place + "/out")] for name, way in ways.items()})
"""


def test_writing_is_for_what_is_writable(place: Path, user: int) -> None:
    inside, refused = pairs(locked(place / "in"), WRITING, str(place), user=user)
    assert inside == dict.fromkeys(inside, "")
    # What would lead to another folder of the same kind is refused as if that were on another disk.
    assert refused.pop("hard") in ("EXDEV", "EACCES", "ENOENT")
    assert refused.pop("rename") in ("EXDEV", "EACCES")
    assert refused == dict.fromkeys(refused, "EACCES")
    assert (place / "out/a/file").read_text() == "old"
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a", "b"]
    # The same without walls: they are what refuses.
    _, outside = pairs(Walls(), WRITING, str(place), user=user)
    assert outside == dict.fromkeys(outside, "")


TRICKS = """
place = sys.argv[1]
secret, inside = place + "/out/a/file", place + "/in"
os.symlink(place + "/out", inside + "/link")
os.symlink(secret, inside + "/file")
child = os.open(place + "/in/a", os.O_RDONLY)
answer({
    "through a link": attempt(open, inside + "/link/new", "x"),
    "a linked file": attempt(open, inside + "/file", "w"),
    "a hard link in": attempt(os.link, secret, inside + "/hard"),
    "a hard link out": attempt(os.link, inside + "/a/file", place + "/out/b/file"),
    "moved in": attempt(os.rename, secret, inside + "/moved"),
    "moved out": attempt(os.rename, inside + "/a/file", place + "/out/b/file"),
    "exchanged": attempt(call, RENAMEAT2, -100, secret.encode(), -100, (inside + "/a/file").encode(), 2),
    "by /proc": attempt(open, "/proc/self/root" + secret, "w"),
    "by cwd": (os.chdir(inside), attempt(open, "../out/new", "x"))[1],
    "by a folder": attempt(os.open, "../../out/new", os.O_CREAT | os.O_WRONLY, dir_fd=child),
    "by a descriptor": attempt(open, "/proc/self/fd/%d" % os.open(secret, os.O_RDONLY), "w"),
    "a device": attempt(os.mknod, inside + "/null", 0o20666, os.makedev(1, 3)),
    "read": open(secret).read(),
})
"""


def test_links_moves_and_descriptors_lead_nowhere(place: Path, user: int) -> None:
    renameat2 = {"x86_64": 316, "aarch64": 276}[os.uname().machine]
    answered = ask(locked(place / "in"), f"RENAMEAT2 = {renameat2}\n{TRICKS}", str(place), user=user)
    assert isinstance(answered, dict)
    assert answered.pop("read") == "old"
    assert answered.pop("a device") in ("EACCES", "EPERM")
    assert [name for name, error in answered.items() if error not in ("EACCES", "EXDEV")] == []
    assert (place / "out/a/file").read_text() == "old"


def test_devices_are_written_as_ever_and_settings_are_not(place: Path, user: int) -> None:
    code = """
read, write = os.pipe()
answer({
    "null": attempt(lambda: open("/dev/null", "w").write("x")),
    "score": attempt(lambda: open("/proc/self/oom_score_adj", "w").write("1000")),
    "pipe": attempt(open, "/proc/self/fd/%d" % write, "wb", 0),
    "shared": attempt(multiprocessing.get_context("fork").Lock),
    "memory": attempt(open, "/proc/self/fd/%d" % os.memfd_create("x"), "w"),
    "made in /dev": attempt(open, "/dev/agentd-new", "x"),
})
"""
    assert ask(locked(place / "in"), code, user=user) == {
        "null": "",
        "score": "EACCES",
        "pipe": "",
        "shared": "",
        "memory": "",
        "made in /dev": "EACCES",
    }


def test_one_file_can_be_made_writable(place: Path, user: int) -> None:
    file = place / "out/a/file"
    code = "answer([attempt(open, sys.argv[1], 'w'), attempt(open, sys.argv[1] + '2', 'w')])"
    assert ask(locked(place / "in", file), code, str(file), user=user) == ["", "EACCES"]


@needs_scopes
def test_processes_outside_get_no_signal(place: Path, user: int) -> None:
    options = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if user else {}
    outside = subprocess.Popen(["sleep", "60"], **options)
    try:
        code = """
inside = os.fork() or time.sleep(60)
answer([attempt(os.kill, int(sys.argv[1]), signal.SIGTERM), attempt(os.kill, int(sys.argv[1]), 0),
        attempt(os.kill, inside, signal.SIGKILL), os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1])])
"""
        assert ask(locked(), code, str(outside.pid), user=user) == ["EPERM", "EPERM", "", -9]
        assert outside.poll() is None
        unwalled = ask(Walls(), "answer(attempt(os.kill, int(sys.argv[1]), 15))", str(outside.pid), user=user)
        assert unwalled == ""
        assert outside.wait(20) == -signal.SIGTERM
    finally:
        outside.kill()
        outside.wait()


@needs_scopes
def test_abstract_sockets_of_others_are_not_reached(user: int) -> None:
    name = f"\0agentd-test-{os.getpid()}-{user}"
    code = """
name = "\\0" + sys.argv[1]
ours = socket.socket(socket.AF_UNIX)
ours.bind(name + "-inside"), ours.listen()
answer([attempt(socket.socket(socket.AF_UNIX).connect, at) for at in (name, name + "-inside")])
"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        assert ask(locked(), code, name[1:], user=user) == ["EPERM", ""]
        assert ask(Walls(), code, name[1:], user=user) == ["", ""]


@needs_bind
def test_ports_are_bound_where_that_is_allowed(user: int) -> None:
    code = """
tcp = [attempt(socket.socket(family).bind, (host, 0))
       for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, ""))]
answer([*tcp, attempt(socket.socket(socket.AF_UNIX).bind, ""), stand["bind"]])
"""
    assert ask(locked(bind=False), code, user=user) == ["EACCES", "EACCES", "", False]
    assert ask(locked(bind=True), code, user=user) == ["", "", "", True]


def test_what_stands_is_told(place: Path, user: int) -> None:
    both = Walls(filtered(program()).seccomp, True, True, [str(place / "in")])
    assert ask(both, "answer(stand)", user=user) == {"landlock": ABI, "seccomp": True, "bind": True}
    assert ask(Walls(), "answer(stand)", user=user) == {"landlock": 0, "seccomp": False, "bind": True}
    code = """
script = "grep -E NoNew /proc/self/status; unshare -U true || echo $?"
answer(subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout)
"""
    assert ask(both, code, user=user) == "NoNewPrivs:\t1\n1\n"


def test_a_wall_that_cannot_be_built_is_an_error(place: Path) -> None:
    for built, told in (
        (locked(place / "missing"), f"OSError: {place}/missing cannot be made writable by Landlock: No such file"),
        (locked(place / "in/link"), "it is a symbolic link"),
        (Walls(bind=False), "OSError: only Landlock can keep code from binding ports"),
        (filtered(b"\0" * 8), "OSError: installing the filter of system calls failed: Invalid argument"),
    ):
        (place / "in/link").unlink(missing_ok=True)
        (place / "in/link").symlink_to(place / "out")
        done = run(built, "answer('open')")
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(("version", "told"), [(0, "no Landlock"), (1, "moving files"), (3, "binding of ports")])
def test_a_kernel_that_offers_too_little_is_an_error(version: int, told: str) -> None:
    code = f"""
walls.landlock_abi = lambda: {version}
try:
    walls._landlock([], False)
except OSError as error:
    answer(str(error))
"""
    answered = ask(Walls(), code)
    assert isinstance(answered, str)
    assert told in answered


def test_an_older_kernel_gets_the_rights_that_it_knows(place: Path) -> None:
    code = """
version, place = int(sys.argv[1]), sys.argv[2]
walls.landlock_abi = lambda: version
answer([walls._landlock([place + "/in"], True), attempt(open, place + "/out/new", "x"),
        attempt(os.rename, place + "/in/a/file", place + "/in/b/file"),
        attempt(os.rename, place + "/in/b", place + "/b")])
"""
    for version in range(LEAST_ABI, ABI + 1):
        assert ask(Walls(), code, str(version), str(place)) == [version, "EACCES", "", "EACCES"]
        (place / "in/b/file").rename(place / "in/a/file")


def test_inside_of_bubblewrap(place: Path, user: int) -> None:
    start = in_bubblewrap(place, user)
    built = Walls(filtered(program()).seccomp, True, True, [str(place / "in")])
    inside, outside = pairs(built, WRITING, str(place), start=start)
    assert inside == dict.fromkeys(inside, "")
    assert "" not in outside.values()
    score = "answer([attempt(lambda: open('/proc/self/oom_score_adj', 'w').write('300')), stand['landlock']])"
    assert ask(built, score, start=start) == ["EACCES", ABI]


def in_bubblewrap(place: Path, user: int) -> list[str]:
    """Return how to start Python in a bubblewrap that may write to a folder."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("there is no bwrap: install bubblewrap")
    argv = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev"]
    argv += ["--proc", "/proc", "--bind", str(place), str(place)]
    if user:
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
    # The interpreter of the tests may lie where another user cannot go.
    tried: dict[str, str] = {}
    for python in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([*argv, python, "-I", "-S", "-c", ""], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return [*argv, python]
        tried[python] = done.stderr.strip()
    pytest.skip(f"not installable: bubblewrap for user {user} ({tried})")
