"""The fairness contract: which fields of `run.json` must match, and which must differ.

A first check, declared as data so that it can grow: a rule names a field, the runs that it compares
(`within`) and what is expected of their values. A breach carries the field and every value.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import product

MATCH, DIFFER = "match", "differ"


@dataclass(frozen=True)
class Rule:
    """Runs that agree on `within` must `match` or `differ` in `field` (dots reach into it)."""

    field: str
    expect: str
    why: str
    within: tuple[str, ...] = ()


RULES = (
    Rule("hashes.start", MATCH, "all methods start from the same SFT weights", ("origin",)),
    Rule("hashes.pairs", MATCH, "one seed means one draw of pairs", ("labels", "seed", "origin")),
    Rule("pairs", MATCH, "the same number of labels", ("labels", "origin")),
    Rule("hashes.reward", MATCH, "a seed has one reward model", ("labels", "seed")),
    Rule("hashes.reference", MATCH, "one set of reference log-probabilities"),
    Rule("template", MATCH, "the same prompt template"),
    Rule("eos", MATCH, "the same end-of-text policy"),
    Rule("decode", MATCH, "the same sampling settings"),
    Rule("trainable_parameters", MATCH, "the same trainable parameters"),
    Rule("tuning_trials", MATCH, "the same number of tuning trials"),
    Rule("curve_prompts_sha256", MATCH, "the same held-out prompts"),
    Rule("overrides", MATCH, "the same settings from the command line", ("arm",)),
    Rule("versions", MATCH, "the same library versions"),
    Rule("machine", MATCH, "the same machine, or seconds do not compare"),
    Rule("hashes.pairs", DIFFER, "another seed draws other pairs", ("arm",)),
    Rule("model_sha256", DIFFER, "another seed gives another model", ("arm",)),
)


def value(run: dict, field: str):
    """The value of a dotted field; None where the run does not have it."""
    for key in field.split("."):
        run = run.get(key) if isinstance(run, dict) else None
    return run or None if isinstance(run, (str, dict)) else run


def name(run: dict) -> str:
    """How the report calls a run."""
    return f"{run['arm']} seed {run['seed']}"


def _scope(run: dict, rule: Rule) -> tuple:
    """Runs with the same scope are compared; arms that start elsewhere say so in their name."""
    origin = "elsewhere" if "-from-" in run["arm"] else "sft"
    return tuple(origin if key == "origin" else run.get(key) for key in rule.within)


def _broken(rule: Rule, values: list) -> bool:
    """Does a scope's list of values break the rule?"""
    distinct = len({repr(v) for v in values})
    return distinct > 1 if rule.expect == MATCH else distinct < len(values)


def breaches(runs: list[dict], rules=RULES) -> list[dict]:
    """Every breach among `runs` (run.json with `model_sha256` added): field, why, values by run.

    A run without the field (no reward model, a model that diverged) takes no part in its rule.
    """
    found = []
    for rule in rules:
        scopes = defaultdict(dict)
        for run in runs:
            if (v := value(run, rule.field)) is not None:
                scopes[_scope(run, rule)][name(run)] = v
        for values in scopes.values():
            if _broken(rule, list(values.values())):
                found.append(_breach(rule, values))
    return found


def _breach(rule: Rule, values: dict) -> dict:
    """A breach as the report shows it."""
    return {"field": rule.field, "expect": rule.expect, "why": rule.why, "values": values}


def missing(present: set[tuple[str, int]], arms, seeds) -> list[dict]:
    """A breach for each run of the study that left no `run.json`."""
    gone = [
        f"{arm} seed {seed}" for arm, seed in product(arms, seeds) if (arm, seed) not in present
    ]
    values = {run: "missing" for run in gone}
    why = "every run of the study is counted, failed ones too"
    return [{"field": "run", "expect": "present", "why": why, "values": values}] if gone else []


def stale(runs: list[dict], evals: list[dict]) -> list[dict]:
    """A breach for each evaluation of other weights, or of another status, than the run's own."""
    by_run = {(e["arm"], e["seed"]): e for e in evals}
    found = []
    for run in runs:
        seen = by_run.get((run["arm"], run["seed"]), {"status": "missing"})
        for field in ("status", "model_sha256"):
            mine, theirs = run.get(field), seen.get(field)
            if mine and theirs and mine != theirs:
                values = {name(run): mine, "its evaluation": theirs}
                why = "an evaluation belongs to the run beside it"
                found.append({"field": field, "expect": MATCH, "why": why, "values": values})
    return found
