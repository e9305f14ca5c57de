"""What has to work: without these, that everything else is refused would mean nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile

from agentd.executors.battery.inside.harness import Facts, Refused, probe


@probe("works-workspace", "read and write the workspace")
def works_workspace(facts: Facts) -> str:
    path = facts.target("works-workspace")
    with open(path, "x") as file:
        file.write("here\n")
    with open(path) as file:
        return file.read().strip()


@probe("works-tmp", "write into a temporary folder")
def works_tmp(_facts: Facts) -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
        return file.name


@probe("works-programs", "run the system's programs")
def works_programs(_facts: Facts) -> str:
    return subprocess.run(["/bin/sh", "-c", "echo $((6 * 7))"], check=True, capture_output=True).stdout.decode().strip()


@probe("works-python", "run the interpreter")
def works_python(_facts: Facts) -> str:
    argv = [sys.executable, "-I", "-S", "-c", "import json, hashlib; print(json.dumps([1]))"]
    return subprocess.run(argv, check=True, capture_output=True).stdout.decode().strip()


@probe("works-loopback", "listen on its own loopback, and connect to that")
def works_loopback(_facts: Facts) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), 1.0) as client:
            client.sendall(b"hello")
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(1.0)
            return accepted.recv(16).decode()


@probe("works-processes", "start processes and signal them")
def works_processes(_facts: Facts) -> str:
    child = os.fork()
    if child == 0:
        os.read(os.pipe()[0], 1)
    os.kill(child, 15)
    if os.WTERMSIG(os.waitpid(child, 0)[1]) != 15:
        raise Refused("it did not end")
    return "ended by a signal"
