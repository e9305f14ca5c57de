"""A sandbox with a policy: what the model's code sees, what it may change, whom it reaches. Needs bubblewrap."""

from __future__ import annotations

from pathlib import Path

from model import connection
from openai import OpenAI

from agentd import BwrapExecutor, CodeExecution, display_events, patch_openai_with_ptc

POLICY = {
    "protected": [".env", "**/.git/hooks"],  # read, but neither changed nor replaced
    "hidden": ["keys", "~/.ssh"],
    "allowed_domains": ["github.com", "*.python.org"],
    "denied_domains": ["bugs.python.org"],
    "processes": 64,
    "file_size": "10 MiB",
}


def main() -> None:
    workspace = Path("workspace")
    (workspace / "keys").mkdir(parents=True, exist_ok=True)
    (workspace / "keys" / "signing.pem").write_text("not for the model")
    (workspace / ".env").write_text("MODE=test\n")
    with BwrapExecutor(workspace, timeout=20, policy=POLICY) as executor:
        print(executor.execute_bash("wc -l < .env; ls -A keys"))  # a plain call, without a model
        client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), executor=executor)
        stream = client.responses.create(model="gpt-5-mini", input="Set MODE=live, and fetch a page.", stream=True)
        for event in display_events(stream):
            if isinstance(event, CodeExecution):
                print(f"$ {event.code}\n{event.output}")
    print((workspace / ".env").read_text(), end="")


CODE = """
echo MODE=live > .env
```

```bash:execute
curl -sS https://example.com/
```

```python:execute
with open("/tmp/large", "wb") as file:
    file.truncate(1 << 30)
"""
SCRIPT = [f"```bash:execute{CODE}```\n", "I may not do any of that."]

if __name__ == "__main__":
    main()
