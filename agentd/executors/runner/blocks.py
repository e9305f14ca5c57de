"""Starting, feeding, timing, killing and ending blocks."""

from __future__ import annotations

import errno
import os
import time

from . import bash, python
from .bindings import Bindings
from .loop import Loop
from .oom import Sacrifice
from .output import Output
from .processes import shell_of, tag_of, wear
from .state import Block, Settings, Shell, lasting, merged
from .watch import Watch
from .wire import BINDINGS_KEPT, Header
from .workers import Workers

LIVE_EVERY = 0.03
LIVE_FIRST = 0.002  # a block that ends within this has its output and its end told at once
LIVE_PIECE = 1 << 16
PIECE = 1 << 16
LAST_PIECES = 32
EXIT_CODES = {"timeout": 124, "cancelled": 137}


class Blocks:
    """All shells of one runner and the blocks in them."""

    def __init__(self, loop: Loop, settings: Settings, census: int, sacrifice: Sacrifice) -> None:
        self.loop = loop
        self._settings = settings
        self._guard = os.getppid()
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._bash = _find("bash", settings.env.get("PATH", os.defpath))
        self.cpu = settings.cpu
        self.sacrifice = sacrifice
        self._limits = bash.limits(self.cpu)
        self._base_path = list(python.sys.path)
        self._shells: dict[str, Shell] = {}
        self.active: dict[int, Block] = {}
        self.by_pid: dict[int, Block] = {}
        self._workers = Workers(self)
        self.bindings: dict[str, tuple[Bindings, str]] = {}
        self._watch = Watch(self._guard, settings, census, self.active, self._workers.tags)
        self._shell_count = 0

    def bind(self, digest: str, source: str) -> None:
        """Make a version of `lib.tools` ready for the blocks to come."""
        while len(self.bindings) >= BINDINGS_KEPT:
            del self.bindings[next(iter(self.bindings))]
        self.bindings[digest] = (Bindings(source, python.shared_calls()), source)

    def restore(self, name: str, cwd: str, env: dict[str, str]) -> None:
        """Give a shell the state that it had in a runner before this one."""
        shell = self._shell(name)
        shell.cwd, shell.env = cwd, env
        shell.version += 1

    def start(self, header: Header, payload: bytes, tools: tuple[int, ...]) -> None:
        """Begin a block."""
        block = self._block(header, payload, tools)
        self.active[block.id] = block
        begin = self._start_bash if block.kind == "bash" else self._workers.start
        try:
            self._watch.before(block)
            self._enter_directory(block)
            try:
                begin(block)
            except BlockingIOError:
                self._watch.make_room(block)
                begin(block)
        except (OSError, ValueError) as error:  # the latter for what no path and no variable can be
            block.close_fds()
            block.output.add(f"[the block could not be started: {_explain(error)}]\n".encode())
            self.finish(block, 126)
        self._watch.begin(time.monotonic())

    def kill(self, number: int, why: str) -> None:
        """End a block and all that it has started."""
        block = self.active.get(number)
        if block is None:
            return
        block.why = why
        if self._workers.withdraw(block):
            self.finish(block, EXIT_CODES[why])
            return
        block.deadline = float("inf")
        # Without a mark is only what has taken it off.
        self._watch.kill(lambda tag: tag in (block.tag, 0))

    def close(self, name: str) -> None:
        """End all blocks of a shell, its lasting process, and what its earlier blocks have left behind."""
        shell = self._shells.pop(name, None)
        if shell is None:
            return
        for block in [block for block in self.active.values() if block.shell is shell]:
            block.why = "cancelled"
            block.deadline = float("inf")
            if self._workers.withdraw(block):
                self.finish(block, EXIT_CODES["cancelled"])
        if shell.blocks:
            self._watch.kill(lambda tag: shell_of(tag) == shell.number)

    def due(self) -> float | None:
        """Return when `tick` has something to do."""
        times = [block.deadline for block in self.active.values() if block.deadline < float("inf")]
        if not self.loop.congested:
            times += [block.output.shown_at + LIVE_EVERY for block in self.active.values() if block.output.live]
        if self._watch.due is not None:
            times.append(self._watch.due)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for block in list(self.active.values()):
            if now >= block.deadline:
                self.kill(block.id, "timeout")
            elif block.output.live and now >= block.output.shown_at + LIVE_EVERY:
                self._show(block, now)
        if self._watch.due is not None and now >= self._watch.due:
            self._watch.look(now)

    def idle(self) -> None:
        """Use a moment when nothing is to be done."""
        if not self.active:
            self._workers.stock_up()

    def ended(self, pid: int, code: int) -> None:
        """Take note that a child of the runner has exited."""
        block = self.by_pid.pop(pid, None)
        if block is not None:
            self.finish(block, code)
        else:
            self._workers.ended(pid, code)

    def _block(self, header: Header, payload: bytes, tools: tuple[int, ...]) -> Block:
        shell = self._shell(header.text("shell"))
        shell.blocks += 1
        settings = self._settings
        output = Output(settings.workspace, header.text("name"), settings.budget, settings.spill_cap, settings.live_cap)
        tag = tag_of(shell.number, shell.blocks)
        return Block(header, payload.decode("utf-8", "surrogatepass"), shell, output, tools, tag)

    def _shell(self, name: str) -> Shell:
        shell = self._shells.get(name)
        if shell is None:
            self._shell_count += 1
            settings = self._settings
            shell = self._shells[name] = Shell(self._shell_count, settings.workspace, dict(settings.env))
        return shell

    def _enter_directory(self, block: Block) -> None:
        shell = block.shell
        if block.cwd:
            cwd = os.path.join(self._settings.workspace, block.cwd)
            os.chdir(cwd)
            shell.cwd = cwd
            return
        try:
            os.chdir(shell.cwd)
        except (OSError, ValueError) as error:
            home = self._settings.workspace
            note = f"[the working directory {shell.cwd} is gone ({_explain(error)}): back in {home}]\n"
            block.output.add(note.encode("utf-8", "backslashreplace"))
            os.makedirs(home, exist_ok=True)
            os.chdir(home)
            shell.cwd = home

    def _start_bash(self, block: Block) -> None:
        if not self._bash:
            raise FileNotFoundError(errno.ENOENT, "there is no bash on the PATH")
        block.read_fd, write = os.pipe2(os.O_CLOEXEC)
        # The child inherits the mark; the runner itself takes the next one with its next block.
        wear(block.tag)
        try:
            with self.sacrifice:
                spawned = bash.spawn(self._bash, block.code, block.environment(), write, self._limits)
        except (OSError, ValueError):
            os.close(block.read_fd)
            block.read_fd = -1
            raise
        finally:
            os.close(write)
        block.pid, block.state_fd, block.state_start = spawned
        self.by_pid[block.pid] = block
        self.running(block)

    def mark(self, block: Block) -> python.Mark:
        """Return what a block's process is to be known by."""
        return python.Mark(block.tag, self.cpu)

    def task(self, block: Block) -> python.Task:
        """Return what a Python process has to run for a block."""
        path = [*block.python_dirs, block.shell.cwd, *self._base_path]
        bound = self.bindings.get(block.digest)
        return python.Task(block.code, block.environment(), path, bound[0] if bound else None)

    def running(self, block: Block) -> None:
        """Watch the output of a block that has just been started, and the clock."""
        block.deadline = time.monotonic() + block.timeout
        block.output.shown_at = block.deadline - block.timeout - LIVE_EVERY + LIVE_FIRST
        os.set_blocking(block.read_fd, False)
        self.loop.watch(block.read_fd, lambda: self._read(block))

    def _read(self, block: Block) -> None:
        try:
            piece = os.read(block.read_fd, PIECE)
        except BlockingIOError:
            return
        if not piece:
            self._close_pipe(block)
            return
        block.output.add(piece)
        now = time.monotonic()
        if now >= block.output.shown_at + LIVE_EVERY or len(block.output.live) >= LIVE_PIECE:
            self._show(block, now)

    def _show(self, block: Block, now: float) -> None:
        if block.output.live and not self.loop.congested:
            self.loop.send({"op": "out", "id": block.id}, bytes(block.output.live))
            block.output.live.clear()
            block.output.shown_at = now

    def _close_pipe(self, block: Block) -> None:
        if block.read_fd >= 0:
            self.loop.forget(block.read_fd)
            os.close(block.read_fd)
            block.read_fd = -1

    def finish(self, block: Block, code: int) -> None:
        """Tell the host how a block ended."""
        self._drain(block)
        if not block.why:
            self._watch.after(block)
        for note in block.notes:
            block.output.add(note.encode())
        del self.active[block.id]
        header: dict[str, object] = {"op": "done", "id": block.id, "code": EXIT_CODES.get(block.why, code)}
        header |= {"why": block.why, "total": block.output.total, "spill": block.output.spill}
        if block.state_fd >= 0 and self._take_state(block):
            header |= {"cwd": block.shell.cwd, "env": block.shell.env}
        if block.output.live:
            self.loop.send({"op": "out", "id": block.id}, bytes(block.output.live))
            block.output.live.clear()
        self.loop.send(header, block.output.text())
        if block.read_fd < 0:
            block.output.close()

    def _drain(self, block: Block) -> None:
        """Take what is in the pipe now; if somebody still holds it, go on emptying it into the file."""
        for _ in range(LAST_PIECES):
            try:
                piece = os.read(block.read_fd, PIECE) if block.read_fd >= 0 else b""
            except BlockingIOError:
                break
            if not piece:
                self._close_pipe(block)
                return
            block.output.add(piece)
        self.loop.forget(block.read_fd)
        self.loop.watch(block.read_fd, lambda: self._read_late(block))

    def _read_late(self, block: Block) -> None:
        try:
            piece = os.read(block.read_fd, PIECE)
        except BlockingIOError:
            return
        block.output.add_late(piece)
        if not piece or block.output.full:
            self._close_pipe(block)
            block.output.close()

    def _take_state(self, block: Block) -> bool:
        saved = bash.read_state(block.state_fd, block.state_start)
        os.close(block.state_fd)
        block.state_fd = -1
        shell = block.shell
        whole = (saved, block.env, block.bin_dirs)
        if not saved or whole == shell.saved:
            return False
        cwd, env = bash.parse_state(saved)
        ended = cwd, lasting(env, block)
        cwd, env = merged(block, *ended)
        shell.saved = whole if (cwd, env) == ended else None
        if cwd == shell.cwd and env == shell.env:
            return False
        shell.cwd, shell.env = cwd, env
        shell.version += 1
        return True


def _find(program: str, path: str) -> str:
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder, program)
        if folder and os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return ""


def _explain(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.EAGAIN:
        return "no more processes are allowed; what earlier blocks left running may hold them"
    return error.strerror or str(error)
