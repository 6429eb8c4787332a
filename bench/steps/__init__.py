"""The steps: one module a command of `python -m bench`, one rule of the DAG each."""

SHARED = ("fingerprint", "runner")  # what the steps share, and no command
