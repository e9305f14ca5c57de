"""What the conformance suite starts as its client: hands over to the client that waits in the test's own process.

Starting Python with the MCP library takes a second, and there are some seventy scenarios. Run with `python -I -S`.
"""

from __future__ import annotations

import json
import os
import socket
import sys

PREFIX = "MCP_CONFORMANCE_"


def main() -> int:
    port, url = sys.argv[1:]
    told = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        connection.sendall(json.dumps({"url": url, "environment": told}).encode() + b"\n")
        answer = json.loads(connection.makefile("rb").readline())
    sys.stderr.write(answer["error"])
    return 1 if answer["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
