"""Check the fairness contract: which fields of `run.json` must match, may differ, or must differ.

The contract is data: each field has one rule, with its kind, the runs that are compared (`within`)
and why. The ledger is a list of dicts, one per run of the study: the content of its run.json
(nothing if the run is missing) with `folder_arm` and `folder_seed` (its folder), `evaluation` (its
eval.json, or None) and `declared` (the configuration of its arm). A breach holds the field and
every value.
"""

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace

from bench.core.names import SFT, pool_of
from bench.training.batches import known_steps

MATCH, MAY_DIFFER, DIFFER = "match", "may differ", "differ"
EVIDENCE = "evidence"  # the field of a breach that names altered files
# fields of the ledger that are not in run.json
BESIDE = ("folder_arm", "folder_seed", "evaluation", "declared", "pool")
# rules that the evaluation of the SFT base must meet too
OF_BASE = ("evaluation.arm", "evaluation.seed", "evaluation.status", "evaluation.base_draws")
NESTED = "hashes"  # the one field of run.json whose parts are fields of their own
ALIKE = 1.5  # factor within which the FLOPs of two methods' searches are alike
SHOWN, LONG = 6, 80  # values and characters of a value in a sentence


@dataclass(frozen=True)
class Rule:
    """Runs that agree on `within` must `match` or `differ` in `field` (dots reach into it).

    apart: runs that agree on these must differ in the field (the seeds of an arm, in their pairs);
    to: the field must match this other field of the same run instead; optional: a run without the
    field (no reward model, no weights) takes no part.
    """

    field: str
    kind: str
    why: str
    within: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    to: str = ""
    optional: bool = False


ARM, DATA = ("arm",), ("label_set", "start", "drawn_from")
MODEL = ("declared.model",)  # the settings of the model, which are an arm's own in some studies
OWN = "a run lies in the folder of its own arm and seed"
AS_SET = "a run has the configuration of its arm"
OF_RUN = "an evaluation belongs to the run beside it"
SHARING = "neighbours on a GPU slow a run, so its seconds do not compare"
COST, COUNT = "a measured cost", "a measured amount of work"

RULES = (
    # What a run is
    Rule("arm", MATCH, OWN, to="folder_arm"),
    Rule("seed", MATCH, OWN, to="folder_seed"),
    Rule("method", MATCH, AS_SET, to="declared.method"),
    Rule("preference", MATCH, "the runs of an arm learn the same preference", ARM),
    Rule("label_set", MATCH, AS_SET, to="declared.label_set", optional=True),
    Rule("start", MATCH, AS_SET, to="declared.start", optional=True),
    Rule("base", MATCH, "an arm has one SFT base", ARM),
    Rule("drawn_from", MATCH, "an arm has one pool of pairs", ARM),
    Rule("reward_model", MATCH, AS_SET, to="declared.reward_model", optional=True),
    Rule("settings", MATCH, AS_SET, to="declared.settings"),
    Rule("overrides", MATCH, "the same settings from the command line", ARM),
    # What is held equal
    Rule("hashes.start", MATCH, "all methods start from the same weights", ("start", "base")),
    Rule(
        "hashes.pairs",
        MATCH,
        "each seed has one draw of pairs",
        (*DATA, "seed"),
        ARM,
        optional=True,
    ),
    Rule("pairs", MATCH, "the same number of pairs", DATA),
    Rule(
        "hashes.reward",
        MATCH,
        "each seed has one reward model",
        ("reward_model", "seed"),
        ARM,
        optional=True,
    ),
    Rule(
        "hashes.reference",
        MATCH,
        "one set of reference log-probabilities",
        ("pool", "base", "drawn_from"),
        optional=True,
    ),
    Rule("hashes.checkpoint", MAY_DIFFER, "a model that was trained elsewhere", optional=True),
    Rule("hashes.pick", MATCH, "the runs of an arm have one pick of settings", ARM, optional=True),
    Rule("hashes.code", MATCH, "the runs of an arm use the same code", ARM, optional=True),
    Rule("template", MATCH, "the same prompt template"),
    Rule("eos", MATCH, "the same end-of-text policy"),
    Rule("decode", MATCH, "the same sampling settings"),
    Rule("trainable_parameters", MATCH, "the same trainable parameters", MODEL, optional=True),
    Rule("parameters", MATCH, "the same model", MODEL),
    Rule("search", MATCH, "as much search, in trials or in FLOPs", optional=True),
    Rule("curve_prompts_sha256", MATCH, "the same validation prompts"),
    Rule("versions", MATCH, "the same library versions"),
    Rule("machine", MATCH, "the same machine, or seconds do not compare"),
    Rule("cuda_graph", MATCH, "the same way to sample, or seconds do not compare", optional=True),
    # What seeds must change
    Rule("trajectory_sha256", DIFFER, "seeds train differently", ARM, optional=True),
    Rule(
        "model_sha256",
        DIFFER,
        "seeds end in different models",
        ARM,
        optional=True,
    ),
    # What is measured
    Rule("asked_alone", MAY_DIFFER, "methods that sample may ask prompts without a pair"),
    Rule("status", MAY_DIFFER, "a run that failed is a result"),
    Rule("reason", MAY_DIFFER, "a run that failed says why"),
    Rule("episodes", MAY_DIFFER, COUNT),
    Rule("steps", MAY_DIFFER, COUNT),
    Rule("generated_tokens", MAY_DIFFER, COUNT),
    Rule("validation_loss", MAY_DIFFER, "each method has a loss of its own"),
    Rule("resident_models", MAY_DIFFER, COST),
    Rule("cost", MAY_DIFFER, COST),
    Rule("peak_mb", MAY_DIFFER, COST),
    Rule("peak_reserved_mb", MAY_DIFFER, COST),
    Rule("gpu_slots", MAY_DIFFER, SHARING, optional=True),
    Rule("written", MAY_DIFFER, "each run has files of its own"),
    Rule("sha256", MAY_DIFFER, "each record has a hash of its own"),
    # Evaluations, the SFT base's among them
    Rule("evaluation.arm", MATCH, OWN, to="folder_arm"),
    Rule("evaluation.seed", MATCH, OWN, to="folder_seed"),
    Rule("evaluation.status", MATCH, OF_RUN, to="status"),
    Rule("evaluation.model_sha256", MATCH, OF_RUN, to="model_sha256"),
    Rule("evaluation.prompts_sha256", MATCH, "the same test prompts"),
    Rule("evaluation.draws", MATCH, AS_SET, to="declared.draws", optional=True),
    Rule("evaluation.base_draws", MATCH, AS_SET, to="declared.base_draws", optional=True),
    Rule(
        "evaluation.scorer_sha256",
        MATCH,
        "each seed has one reward model",
        ("evaluation.scorer", "seed"),
        optional=True,
    ),
    Rule("evaluation.scorer", MATCH, "an arm has one kind of reward model", ARM, optional=True),
    Rule("evaluation.decode", MATCH, "the same sampling settings"),
    Rule("evaluation.versions", MATCH, "the same library versions"),
)


# breaches after which the numbers are not those of the study's runs: it is not published
WRONG = {rule.field for rule in RULES if rule.why in (OWN, AS_SET, OF_RUN)}
WRONG |= {EVIDENCE, "run", "evaluation"}


def breaches(
    ledger: list[dict], starts: dict[str, dict] | None = None, evaluations_expected: bool = True
) -> list[dict]:
    """Return every breach of the contract: field, what is expected, why, and the values by run.

    starts: {SFT base: its eval.json}, which must agree with those of the runs; a missing one holds
    only the name of its `base`.
    """
    runs = [_completed(run) for run in ledger if "arm" in run]
    starts = starts or {}
    base = [_base(name, sft) for name, sft in starts.items() if "arm" in sft]
    found = _missing_runs(ledger) + _undeclared(runs) + _taken_out(runs) + _shared(runs)
    found += _never_warm(runs)
    if evaluations_expected:
        found += _missing_evaluations(runs, starts)
    for rule in RULES:
        itself = [*runs, *base] if rule.field in OF_BASE else runs
        found += _unlike_itself(rule, itself) if rule.to else _unlike_others(rule, [*runs, *base])
    return found


def altered(wrong: dict[str, str]) -> list[dict]:
    """Return a breach that lists the files that numbers come from and that are not as written.

    wrong: {file: what is wrong with it}.
    """
    why = "numbers come from files as the steps wrote them"
    return [_breach(EVIDENCE, "as written", why, wrong)] if wrong else []


def name(run: dict) -> str:
    """Name a run by its folder, which is unique, and an SFT base by its own name."""
    return f"{run.get('called') or run['folder_arm']} seed {run['folder_seed']}"


def value(run: dict, field: str):
    """Return the value of a dotted field; None if the run does not have it."""
    for key in field.split("."):
        run = run.get(key) if isinstance(run, dict) else None
    return run


def fields(run: dict) -> list[str]:
    """Return the fields of a run.json, with each part of `hashes` as a field of its own."""
    plain = [key for key in run if key not in (*BESIDE, NESTED)]
    return plain + [f"{NESTED}.{key}" for key in run.get(NESTED) or {}]


def _completed(run: dict) -> dict:
    """Return the run with defaults for absent fields, and with the pool of its pairs."""
    label_set = run.get("label_set") or run.get("preference")
    usual = {"start": "sft", "base": "sft", "drawn_from": "pairs", "reward_model": label_set}
    run = usual | {"label_set": label_set} | run
    run |= {"pool": pool_of(str(label_set))}
    if not run.get("steps"):  # no step was logged, so two such logs may be equal
        run |= {"trajectory_sha256": None}
    return run


def _base(called: str, sft: dict) -> dict:
    """Return an SFT base as an entry of the ledger: its evaluation, and the hash of its weights."""
    hashes = {"start": sft.get("model_sha256") or "unknown"}
    start = {"start": "sft", "base": sft.get("base", called), NESTED: hashes}
    head = {"folder_arm": SFT, "folder_seed": 0, "status": "ok", "called": called}
    return head | {"evaluation": sft, "declared": sft.get("declared")} | start


def _missing_runs(ledger: list[dict]) -> list[dict]:
    """Return a breach that lists the runs without a run.json."""
    gone = {name(run): "missing" for run in ledger if "arm" not in run}
    why = "every run of the study counts, failed ones too"
    return [_breach("run", "present", why, gone)] if gone else []


def _missing_evaluations(runs: list[dict], starts: dict[str, dict]) -> list[dict]:
    """Return a breach that lists the runs and SFT bases without an eval.json."""
    bases = [called for called, sft in starts.items() if "arm" not in sft] if starts else [SFT]
    gone = {name(_base(called, {})): "missing" for called in bases}
    gone |= {name(run): "missing" for run in runs if not run.get("evaluation")}
    why = "every run is evaluated, and so is the SFT base"
    return [_breach("evaluation", "present", why, gone)] if gone else []


def _undeclared(runs: list[dict]) -> list[dict]:
    """Return a breach that lists the fields without a rule, by run."""
    known = {rule.field for rule in RULES}
    strange = {name(run): ", ".join(sorted({*fields(run)} - known)) for run in runs}
    strange = {run: names for run, names in strange.items() if names}
    why = "the contract has a rule for every field"
    return [_breach("undeclared field", "declared", why, strange)] if strange else []


def _taken_out(runs: list[dict]) -> list[dict]:
    """Return a breach for each field that only some of an arm's ended runs have."""
    found = []
    asked = [r.field for r in RULES if r.optional or r.kind == MAY_DIFFER]
    for field, arm in product(asked, dict.fromkeys(run["folder_arm"] for run in runs)):
        ended = [r for r in runs if r["folder_arm"] == arm and r.get("status") == "ok"]
        if _of_evaluation(field):
            ended = [run for run in ended if run.get("evaluation")]
        lack = {name(run): "missing" for run in ended if value(run, field) is None}
        if 0 < len(lack) < len(ended):
            found.append(_breach(field, "present", "the runs of an arm have the same fields", lack))
    return found


def _shared(runs: list[dict]) -> list[dict]:
    """Return a breach that lists the runs whose seconds other runs on their GPU may have slowed.

    It is the number of runs that may have shared the GPU, with the run or with a step that it is
    charged for.
    """
    many = {name(run): n for run in runs if (n := run.get("gpu_slots") or 1) > 1}
    return [_breach("gpu_slots", "1", SHARING, many)] if many else []


def _never_warm(runs: list[dict]) -> list[dict]:
    """Return a breach that lists the runs whose learning rate never reached its setting, or that of
    their reward model.

    Their warm-up takes at least as many steps (of PPO: rollouts) as the training has.
    """
    cold = {}
    for run in runs:
        known, pairs = run.get("declared") or {}, run.get("pairs") or 0
        scorer = known.get("reward"), known.get("reward_pairs") or pairs, " of the reward model"
        for own, n, of in ((run.get("settings"), pairs, ""), scorer):
            if found := _all_warming(own or {}, n):
                cold[name(run)] = found + of
    why = "a rate that is still rising at the end of training is not the rate that was set"
    return [_breach("settings.warmup", "less than the steps", why, cold)] if cold else []


def _all_warming(own: dict, pairs: int) -> str:
    """Return '5 of 4 steps' if a training's warm-up takes all of its steps, else ''."""
    steps = known_steps(SimpleNamespace(**own), pairs)
    return f"{own['warmup']} of {steps} steps" if steps and steps <= own["warmup"] else ""


def _unlike_itself(rule: Rule, runs: list[dict]) -> list[dict]:
    """Return a breach for each run in which two fields that must match do not."""
    found = []
    for run in runs:
        if rule.to.startswith("declared.") and not run.get("declared"):
            continue
        mine, other = value(run, rule.field), value(run, rule.to)
        if rule.optional and other is None:
            continue
        if mine != other and (run.get("evaluation") or not _of_evaluation(rule.field)):
            values = {_place(run, rule.field): mine, _place(run, rule.to): other}
            found.append(_breach(rule.field, MATCH, rule.why, _contrast(values)))
    return found


def _place(run: dict, field: str) -> str:
    """Say whose value it is: the run's, or that of its evaluation, folder or declared arm."""
    part = re.match("evaluation|folder|declared", field)
    return f"{part[0]} of {name(run)}" if part else name(run)


def _of_evaluation(field: str) -> bool:
    return field.startswith("evaluation.")


def _unlike_others(rule: Rule, entries: list[dict]) -> list[dict]:
    """Return a breach for each group of runs whose values do not match, or do not differ."""
    found = []
    checks = [(rule.kind, rule.within)] + ([(DIFFER, rule.apart)] if rule.apart else [])
    for expect, within in checks:
        scopes = defaultdict(dict)
        for entry in filter(lambda e: _takes_part(e, rule), entries):
            scope = tuple(_key(value(entry, key)) for key in within)
            scopes[scope][name(entry)] = value(entry, rule.field)
        broken = filter(None, (_broken(expect, values) for values in scopes.values()))
        found += [_breach(rule.field, expect, rule.why, values) for values in broken]
    return found


def _takes_part(entry: dict, rule: Rule) -> bool:
    """Return whether a rule applies to an entry.

    A field that is not optional must not be missing. An SFT base is not a run of an arm.
    """
    if rule.within == ARM and "arm" not in entry:
        return False
    if rule.kind == DIFFER and (entry.get("declared") or {}).get("trained") is False:
        return False  # seeds change nothing where nothing is trained
    if value(entry, rule.field) is not None:
        return True
    whole = entry.get("evaluation" if _of_evaluation(rule.field) else "arm")
    return bool(whole) and not rule.optional


def _broken(expect: str, values: dict) -> dict:
    """Return the values of a group that break the rule; empty if none does."""
    same = defaultdict(list)
    for run, v in values.items():
        same[_key(v)].append(run)
    if expect == MATCH:
        return _contrast(values) if len(same) > 1 else {}
    repeated = {run for runs in same.values() if len(runs) > 1 for run in runs}
    return {run: v for run, v in values.items() if expect == DIFFER and run in repeated}


def _contrast(values: dict) -> dict:
    """Cut values that are mappings down to the keys in which they differ."""
    if not all(isinstance(v, dict) for v in values.values()):
        return values
    keys = dict.fromkeys(key for v in values.values() for key in v)
    odd = [key for key in keys if len({_key(v.get(key)) for v in values.values()}) > 1]
    return {run: {key: v.get(key) for key in odd} for run, v in values.items()}


def _key(v) -> str:
    """Return a value as text that is the same for equal values."""
    return json.dumps(v, sort_keys=True, default=str)


def _breach(field: str, expect: str, why: str, values: dict) -> dict:
    """Return a breach as the report shows it."""
    values = {run: "missing" if v is None else v for run, v in values.items()}
    return {"field": field, "expect": expect, "why": why, "values": values}


def sentence(breach: dict) -> str:
    """Say a breach in one line: the field, what is expected of it and why, and the values."""
    expect = breach["expect"]
    must = expect if expect in (MATCH, DIFFER) else f"be {expect}"
    shown = _examples(breach)[:SHOWN]
    more = len(breach["values"]) - len(shown)
    listed = "; ".join(f"{run}: {_short(breach['values'][run])}" for run in shown)
    rest = f"; and {more} more" if more else ""
    return f"fairness contract: {breach['field']} must {must} ({breach['why']}): {listed}{rest}"


def _examples(breach: dict) -> list[str]:
    """Choose the runs to show: of values that should match, one each, the rarest value first."""
    if breach["expect"] != MATCH:
        return list(breach["values"])
    groups = defaultdict(list)
    for run, v in breach["values"].items():
        groups[_key(v)].append(run)
    return [runs[0] for runs in sorted(groups.values(), key=len)]


def _short(v) -> str:
    """Return a value on one line: 12 digits of a hash; of a long text its start and its hash."""
    text = str(v)
    if re.fullmatch(r"[0-9a-f]{32,}", text):
        return text[:12]
    line = " ".join(text.split())
    if len(text) <= LONG:
        return line
    return f"{line[: LONG // 2]}... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]})"


def as_many_flops(found: dict[str, dict]) -> bool:
    """Return whether the searches took about as many FLOPs; found: {method: its search}."""
    flops = [own.get("flops", 0.0) for own in found.values()]
    return 0 < max(flops, default=0.0) <= ALIKE * min(flops)
