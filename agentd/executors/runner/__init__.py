"""The runner: the process inside a sandbox that starts, feeds, watches and kills blocks of code.

Standard library only, and only relative imports: this folder is started where `agentd` cannot be imported. The host
uses `wire` and `processes` of it as well.
"""
