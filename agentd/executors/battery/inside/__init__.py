"""The part of the battery that runs in a sandbox: its text is sent there as one block of Python, nothing is installed.

Standard library only. A probe that succeeds where nothing holds it back (`local`, as root) must leave the machine as it
was: what would do harm is asked for with arguments that fail after the permission check.
"""
