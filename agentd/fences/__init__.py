"""Finds the actions in an assistant's message as it streams in: fenced blocks such as `bash:execute`, and an XML form.

`Scanner().feed(chunk)` for each chunk, then `close()`; both return pieces.
"""

from __future__ import annotations

from agentd.fences.pieces import Block, Code, Cut, Opened, Piece, Refused, Text
from agentd.fences.scanner import Scanner, scan

__all__ = ["Block", "Code", "Cut", "Opened", "Piece", "Refused", "Scanner", "Text", "scan"]
