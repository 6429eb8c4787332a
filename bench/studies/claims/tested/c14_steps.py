"""Shallow pairs teach the look of reasoning, step-by-step pairs teach it: worked sums."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import crossed

KINDS = ("random", "look", "outcome", "steps")
POINTS = 5  # that matter
RESULT, STEPS, LOOK = "worked_result", "worked_steps", "worked_look"


def arms(cfg, bases):
    """Return DPO on worked sums with mistakes, labelled at random, by look, outcome or steps."""
    found = {
        f"dpo-worked-{kind}": {"method": "dpo", "preference": f"worked-{kind}", "n": cfg.pairs.n,
                               "tasks": (RESULT, STEPS, LOOK)}
        for kind in KINDS
    }  # fmt: skip
    return crossed(cfg, found, bases)


def seeds(arm: str) -> tuple[int, ...] | None:
    """Return the seed of an arm: the number of its base, since the pairs of worked sums do not
    depend on the base."""
    if not arm.startswith("dpo-worked-"):
        return None
    return (int(arm.rpartition("-sft")[2]) if "-sft" in arm else 1,)


def lead(task: str, kind: str, other: str):
    """Return a function: how many more points of hard sums pass a task after one kind of labels
    than after another."""

    def measured(results):
        from bench.studies.claims import units
        from bench.studies.claims.effects import over, paired

        both = (units.right(results, f"dpo-worked-{own}", task) for own in (kind, other))
        return over(100 * paired(*both))

    return measured


def nothing_taught(results) -> str:
    """Say why labels by steps cannot be judged, if they teach no steps: then labels by look would
    only have to do harm."""
    from bench.report.words import said

    found = lead(STEPS, "steps", "random")(results)
    told = f"labels by steps beat random labels by {said(found, 0)} points alone"
    return "" if found.mean >= POINTS else told


def rights(results):
    """Return the share of hard sums with right steps, in %."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import over

    return {name: over(100 * units.right(results, name, STEPS)) for name in CLAIM.conditions}


def by_kind(results):
    """Say how often results and steps are right, and how often an answer has the look."""
    from bench.studies.claims import units

    items = []
    for name in CLAIM.conditions:
        result, steps, look = (
            100 * units.right(results, name, task).to_numpy().mean()
            for task in (RESULT, STEPS, LOOK)
        )
        items.append(
            f"{CLAIM.labels[name]}: results {result:.0f} %, steps {steps:.0f} %, look {look:.0f} %"
        )
    return [f"Of held-out hard sums that ask for steps. {'; '.join(items)}."]


CLAIM = Claim(
    key="C14",
    sentence="Shallow pairs teach the look of reasoning, step-by-step pairs teach reasoning.",
    experiment="Pairs of worked sums with mistakes, which differ in look, in result and in steps. "
    "The look, a polite beginning, is drawn apart from all else: labels by look agree with labels "
    "by outcome in half of the pairs, labels by outcome with labels by steps in four of five. "
    "Labels drawn at random stand beside.",
    published=(
        Published(
            "Uesato et al. 2022 (arXiv 2211.14275)",
            "labels by outcome and by steps give as many right answers",
            "reward models of school mathematics, not DPO",
        ),
    ),
    parts=(
        Part(
            "Labels by look make DPO's answers look like reasoning.",
            Rule.MORE,
            POINTS,
            "points of sums",
            "share of held-out hard sums whose answer has the look: labels by look minus random "
            "labels",
            lead(LOOK, "look", "random"),
        ),
        Part(
            "Labels by steps make more of DPO's steps right than labels by look.",
            Rule.MORE,
            POINTS,
            "points of sums",
            "share of held-out hard sums whose steps are right: labels by steps minus labels by "
            "look",
            lead(STEPS, "steps", "look"),
            gate=nothing_taught,
        ),
    ),
    arms=arms,
    conditions=tuple(f"dpo-worked-{kind}" for kind in KINDS),
    seeds=seeds,
    shown=rights,
    shown_as="hard sums with right steps, %",
    labels={f"dpo-worked-{k}": f"DPO, labels by {k}" for k in KINDS[1:]}
    | {"dpo-worked-random": "DPO, random labels"},
    notes=by_kind,
    failed="it is left out",
    caveat="Sums of two numbers of two digits: two steps. The mistakes are made up, not sampled, "
    "and SFT never begins with the look, so that PPO, which learns from its own samples, is left "
    "out.",
    worlds=("micro",),
    elsewhere="no worked answers whose steps can be checked",
)
