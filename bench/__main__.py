"""The one door: `python -m bench` says what there is, `python -m bench <step>` runs a step."""

import sys

from bench.core import warm

QUESTIONS = ("list", "help")


def main(argv: list[str]) -> None:
    """Run what the first word names; on a user's mistake, print one line and exit with 1."""
    from bench.core.schema import UserError
    from bench.steps import runner

    try:
        run(*argv or ["help"])
    except UserError as error:
        runner.fail(str(error))


def run(name: str, *words: str) -> None:
    """Answer a question, or run a step. Raises UserError."""
    from bench import steps
    from bench.core import registry
    from bench.core.names import nearest
    from bench.core.schema import UserError

    known = [name for name in registry.members(steps.__name__) if name not in steps.SHARED]
    name = "help" if name in ("-h", "--help") else name
    if name in QUESTIONS:
        from bench.steps import _guide

        return _guide.main(name, words)
    if name not in known:
        raise UserError(f"unknown step '{name}'" + nearest(name, [*QUESTIONS, *known]))
    from bench.steps import runner

    step = registry.member(steps.__name__, name)
    if hasattr(step, "main"):  # a command that reads no testbed
        step.main(words)
    else:
        runner.main(name, step.run, getattr(step, "options", None), words)


if __name__ == "__main__":
    warm.hand_over(sys.argv[1:])  # before anything heavy is imported
    main(sys.argv[1:])
