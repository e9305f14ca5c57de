"""Containers of the fake Docker engine: real processes in bubblewrap, with the mounts and limits asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

from agentd.executors.cgroups import Group, available
from agentd.executors.mounts import system
from agentd.executors.runner.processes import everyone, kill_below

PATH = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
STDOUT, STDERR = 1, 2
_HEADER = struct.Struct(">BxxxL")
_PIECE = 1 << 15


class Container:
    """One container: made, then started once, then ended."""

    def __init__(self, ident: str, name: str, config: dict[str, Any], env: Sequence[str]) -> None:
        self.id = ident
        self.name = name
        self.config = config
        self.host: dict[str, Any] = config.get("HostConfig") or {}
        self.state = "created"
        self.exit_code = 0
        self.ended = threading.Event()
        self._begun = threading.Event()
        self._env = [*env, *(config.get("Env") or [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[socket.socket] = []
        self._sending = threading.Lock()

    def start(self, gone: threading.Event) -> None:
        """Start the process; `gone` is set when it has ended. Raises `OSError` when it cannot be started."""
        failed: list[OSError] = []
        up = threading.Event()
        # In a thread that lives as long: bubblewrap ends with the thread that it was started by.
        threading.Thread(target=self._live, args=(up, failed, gone), name="fake-container", daemon=True).start()
        up.wait()
        if failed:
            raise failed[0]

    def attach(self, client: socket.socket) -> None:
        """Carry a client's bytes to standard input until it sends no more, and what is printed back to it."""
        with self._sending:
            self._clients.append(client)
        self._begun.wait()
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                while piece := client.recv(_PIECE):
                    process.stdin.write(piece)
            if self.config.get("StdinOnce"):
                with contextlib.suppress(OSError, ValueError):
                    process.stdin.close()
        self.ended.wait()
        with self._sending, contextlib.suppress(ValueError):
            self._clients.remove(client)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        process = self._process
        if process is not None and self.state == "running":
            # It may only just have been started: what bubblewrap has begun does not yet end with it.
            process.send_signal(signal.SIGSTOP)
            kill_below(process.pid, everyone)
            process.kill()
            self.ended.wait()
        self._begun.set()
        self.ended.set()
        self._hang_up()

    def _live(self, up: threading.Event, failed: list[OSError], gone: threading.Event) -> None:
        wanted = {"processes": self.host.get("PidsLimit"), "memory": self.host.get("Memory")}
        limits = {name: value for name, value in wanted.items() if value}
        try:
            group = Group(limits if available("pids") and available("memory") else {})
            self._process = self._spawn(group.entrances())
        except OSError as error:
            failed.append(error)
            up.set()
            return
        self.state = "running"
        self._begun.set()
        up.set()
        self._wait(self._process)
        group.remove()
        self.state = "exited"
        gone.set()
        self.ended.set()
        self._hang_up()

    def _spawn(self, entrances: Sequence[int]) -> subprocess.Popen[bytes]:
        join = "".join(f"echo 0 >&{fd}; exec {fd}>&-; " for fd in entrances)
        limits = [f"--{one['Name']}={one['Soft']}:{one['Hard']}" for one in self.host.get("Ulimits") or []]
        argv = ["bash", "-c", join + 'exec "$@"', "bash", "prlimit", *limits, *self._command()]
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, pass_fds=entrances)
        finally:
            for fd in entrances:
                os.close(fd)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = threading.Thread(target=self._show, args=(STDERR, process.stderr), daemon=True)
        errors.start()
        self._show(STDOUT, process.stdout)
        errors.join()
        self.exit_code = process.wait()
        for file in (process.stdout, process.stderr, process.stdin):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()

    def _show(self, kind: int, file: IO[bytes]) -> None:
        while piece := os.read(file.fileno(), _PIECE):
            with self._sending:
                clients = list(self._clients)
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(_HEADER.pack(kind, len(piece)) + piece)

    def _hang_up(self) -> None:
        with self._sending:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def _command(self) -> list[str]:
        user, _, group = str(self.config.get("User") or "0:0").partition(":")
        argv = ["bwrap", "--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid", "--unshare-ipc"]
        argv += ["--unshare-uts", "--hostname", self.config.get("Hostname") or self.id[:12]]
        argv += ["--uid", user, "--gid", group or user]
        argv += ["--unshare-net"] if self.host.get("NetworkMode") == "none" else []
        for dropped in self.host.get("CapDrop") or []:
            argv += ["--cap-drop", dropped]
        for option, source, target in [*system(), ("--ro-bind", sys.base_prefix, sys.base_prefix)]:
            argv += [option, source, target]
        argv += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev", *self._mounts()]
        argv += ["--remount-ro", "/"] if self.host.get("ReadonlyRootfs") else []
        argv.append("--clearenv")
        for line in self._env:
            name, _, value = line.partition("=")
            argv += ["--setenv", name, value]
        if self.config.get("WorkingDir"):
            argv += ["--chdir", self.config["WorkingDir"]]
        return [*argv, "--", *(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    def _mounts(self) -> list[str]:
        found: dict[str, list[str]] = {}
        for mount in self.host.get("Mounts") or []:
            target = mount["Target"]
            found[target] = ["--ro-bind" if mount["ReadOnly"] else "--bind", mount["Source"], target]
        for target, options in (self.host.get("Tmpfs") or {}).items():
            said = dict(option.partition("=")[::2] for option in options.split(","))
            found[target] = ["--perms", said.get("mode", "1777"), "--tmpfs", target]
            found[target] += ["--remount-ro", target] if "ro" in said else []
        # A mount comes after those that it lies in, whatever order they were given in.
        return [word for target in sorted(found, key=lambda path: path.count("/")) for word in found[target]]
