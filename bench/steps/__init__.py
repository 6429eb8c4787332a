"""The steps: each module is a command of `python -m bench` and a rule of the Snakefile."""

SHARED = ("fingerprint", "runner")  # modules that the steps share, which are no commands
