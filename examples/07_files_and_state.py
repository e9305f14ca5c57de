"""What lasts from block to block: files, the working directory, exports; Python names with `state=session`."""

from __future__ import annotations

from pathlib import Path

from model import connection
from openai import OpenAI

from agentd import CodeExecution, display_events, patch_openai_with_ptc


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace", timeout=30)
    stream = client.responses.create(model="gpt-5-mini", input="Show me what lasts.", stream=True)
    for event in display_events(stream):
        if isinstance(event, CodeExecution):
            print(f"[{event.kind}, {event.status}]\n{event.output}")
    print(Path("workspace/notes/plan.md").read_text(), end="")


FILE = """
```notes/plan.md:create
# Plan
```
"""
SHELL = """
```bash:execute
cd notes && export WHO=Ann
```

```bash:execute timeout=5
echo "$WHO is in $(basename "$PWD")"; echo "- $WHO was here" >> plan.md
```
"""
PYTHON = """
```python:execute state=session
seen = [1, 2, 3]
```

```python:execute state=session
seen.append(4); print(seen)
```

```python:execute
print("seen" in globals())
```
"""
SCRIPT = [FILE, SHELL, PYTHON, "That lasts."]

if __name__ == "__main__":
    main()
