"""The one door: `python -m bench` says what there is, `python -m bench <step>` runs a step."""

import sys

from bench.core import warm

QUESTIONS = ("list", "help")


def main(argv: list[str]) -> None:
    """Run what the first word names."""
    from bench import steps
    from bench.core import registry

    known = [name for name in registry.members(steps.__name__) if name not in steps.SHARED]
    name, *words = argv or ["help"]
    if name in ("-h", "--help"):
        name = "help"
    if name in QUESTIONS:
        from bench.steps import _guide

        _guide.main(name, words)
        return
    from bench.steps import runner

    if name not in known:
        from bench.core.names import nearest

        runner.fail(f"unknown step '{name}'" + nearest(name, [*QUESTIONS, *known]))
    step = registry.member(steps.__name__, name)
    if hasattr(step, "main"):  # a command that reads no testbed
        step.main(words)
    else:
        runner.main(name, step.run, getattr(step, "options", None), words)


if __name__ == "__main__":
    warm.hand_over(sys.argv[1:])  # before anything heavy is imported
    main(sys.argv[1:])
