"""The command line: one file per command, and the composition of the long-running roles."""
