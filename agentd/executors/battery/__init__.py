"""Attempts to get out of a sandbox, made inside of it and looked at from outside."""
