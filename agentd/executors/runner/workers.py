"""The processes of Python blocks, as the runner sees them: one for each block, and one that lasts for each shell."""

from __future__ import annotations

import os

from . import worker as processes
from .bindings import Bindings
from .loop import Loop
from .oom import Sacrifice
from .processes import put_on, tag_of
from .python import Mark, Task
from .state import Block, Shell

TYPE_CHECKING = False  # `typing` takes a millisecond of every start
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Host(Protocol):
    """What a lasting process needs of the runner."""

    loop: Loop
    null: int
    cpu: int
    sacrifice: Sacrifice
    active: dict[int, Block]
    by_pid: dict[int, Block]
    bindings: dict[str, tuple[Bindings, str]]

    def mark(self, block: Block) -> Mark: ...

    def task(self, block: Block) -> Task: ...

    def running(self, block: Block) -> None: ...

    def finish(self, block: Block, code: int) -> None: ...


class Workers:
    """Forks the processes, keeps one in reserve, feeds them, and notices their end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._shells: dict[int, Shell] = {}
        self._spare: processes.Worker | None = None
        self._digest: str | None = None

    def tags(self) -> set[int]:
        """Return the marks of the processes that must not be taken for something left behind."""
        tags = {shell.worker.tag for shell in self._shells.values() if shell.worker}
        return tags | ({self._spare.tag} if self._spare else set())

    def start(self, block: Block) -> None:
        """Run a block in a process of its own, or in its shell's lasting one when its turn comes."""
        if not block.keep:
            self._feed(self._fresh(block), block)
            return
        shell = block.shell
        worker = shell.worker
        if worker is None:
            worker = shell.worker = self._fresh(block)
            shell.worker_version = -1
            self._shells[worker.pid] = shell
            lasting = worker
            self._host.loop.watch(worker.sock.fileno(), lambda: self._hear(lasting))
        if worker.current:
            worker.queue.append(block.id)
        else:
            self._feed(worker, block)

    def stock_up(self) -> None:
        """Fork the process for the next block, if blocks of Python have been seen."""
        if self._digest is not None and self._spare is None:
            try:
                self._spare = self._fork(Mark(tag_of(0, 0), self._host.cpu), self._digest)
            except BlockingIOError:  # there is no room for a reserve
                self._digest = None

    def withdraw(self, block: Block) -> bool:
        """Take a block back that waits for its turn; false when it does not."""
        worker = block.shell.worker
        if worker is None or block.id not in worker.queue:
            return False
        worker.queue.remove(block.id)
        block.close_fds()
        return True

    def ended(self, pid: int, code: int) -> None:
        """Take note that a child has exited."""
        if self._spare is not None and pid == self._spare.pid:
            self._spare.sock.close()
            self._spare = None
        shell = self._shells.pop(pid, None)
        if shell is None or shell.worker is None:
            return
        worker, shell.worker = shell.worker, None
        self._host.loop.forget(worker.sock.fileno())
        worker.sock.close()
        block = self._host.active.get(worker.current)
        if block is not None:
            block.notes.append("[the Python namespace is lost: the process that held it has ended]\n")
            self._host.finish(block, code)
        for number in worker.queue:
            self.start(self._host.active[number])

    def _fresh(self, block: Block) -> processes.Worker:
        """Return a process that has not run anything, marked as the block's."""
        spare, self._spare = self._spare, None
        self._digest = block.digest
        if spare is not None and spare.digest != block.digest:
            spare.sock.close()  # that ends it
            spare = None
        if spare is None:
            return self._fork(self._host.mark(block), block.digest)
        put_on(spare.pid, block.tag)
        spare.tag = block.tag
        return spare

    def _fork(self, mark: Mark, digest: str) -> processes.Worker:
        host = self._host
        bound = host.bindings.get(digest)
        # The pipes of the block are open by now, and belong to it alone.
        with host.sacrifice:
            return processes.fork(mark, host.null, host.loop.top, bound[0] if bound else None, digest)

    def _feed(self, worker: processes.Worker, block: Block) -> None:
        host, shell = self._host, block.shell
        block.tag, block.pid = worker.tag, worker.pid
        block.read_fd, write = os.pipe2(os.O_CLOEXEC)
        task = host.task(block)
        bound = host.bindings.get(block.digest)
        rebind = worker.digest != block.digest
        source = bound[1].encode("utf-8", "surrogatepass") if rebind and bound else b""
        moved = not block.keep or shell.worker_version != shell.version
        header: dict[str, object] = {"fds": 1 + len(block.tools), "rebind": rebind, "source": len(source)}
        header |= {"cwd": shell.cwd if moved else "", "env": task.env, "path": task.path, "once": not block.keep}
        worker.current = block.id
        try:
            code = block.code.encode("utf-8", "surrogatepass")
            processes.send(worker.sock, header, source + code, (write, *block.tools))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has just died: that is told by `ended`
        finally:
            os.close(write)
        block.close_fds()
        worker.digest = block.digest
        if block.keep:
            shell.worker_version = shell.version
        else:
            worker.sock.close()
            host.by_pid[worker.pid] = block
        host.running(block)

    def _hear(self, worker: processes.Worker) -> None:
        try:
            piece = worker.sock.recv(1 << 12)
        except OSError:
            piece = b""
        if not piece:
            self._host.loop.forget(worker.sock.fileno())
            return
        for header, _ in worker.reader.feed(piece):
            block = self._host.active.get(worker.current)
            worker.current = 0
            if block is not None:
                self._host.finish(block, header.integer("code") & 0xFF)
            if worker.queue:
                self._feed(worker, self._host.active[worker.queue.popleft()])
