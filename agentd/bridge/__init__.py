"""The door through which code in the sandbox calls tools: the gate, and HTTP for clients in any language."""

from __future__ import annotations
