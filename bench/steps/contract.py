"""Check the fairness contract over all runs of a study: contract.json.

    python -m bench contract --testbed micro [--set strict=true]

A breach is printed here and stamped on the report; with `strict` it is an error.
`bench/analysis/fairness.py` declares what must match and what must differ.
"""

from collections.abc import Sequence
from dataclasses import asdict

from bench.analysis import fairness
from bench.core.files import read_json
from bench.core.layout import Layout, Member
from bench.core.progress import say
from bench.core.records import write_record
from bench.core.schema import UserError
from bench.steps._altered import STEP, evidence
from bench.steps._picked import picked


def ledger(members: Sequence[Member], provenance: dict | None = None) -> list[dict]:
    """Return one entry per run of the study, also for those that left no run.json."""
    methods = {member.arm.method for member in members}
    searches = (provenance or {}).get("methods", {})
    own = {method: found for method, found in searches.items() if method in methods}
    return [_entry(member, own) for member in members]


def declared(arm) -> dict:
    """Return what the runs of a configured arm must record of themselves."""
    known = {"method": arm.method, "label_set": arm.label_set, "start": arm.start}
    return known | {"settings": arm.settings.model_dump(mode="json")}


def _entry(member: Member, searches: dict[str, dict]) -> dict:
    """Return a run.json with its folder, its arm's configuration, its evaluation and trials."""
    run = read_json(member.files.record)
    if run and searches and member.arm.trains:
        run |= {"search": search_of(searches, run.get("method"))}
    if "gpu_slots" in run:
        run["gpu_slots"] = max(record.get("gpu_slots", 1) for record in (run, *paid(member)))
    place = {"folder_arm": member.arm.name, "folder_seed": member.seed}
    evaluation = read_json(member.evaluation.record) or None
    own = declared(picked(member.layout, member.arm)) | draws(member.layout, "draws", evaluation)
    if cfg := member.layout.cfg:
        own |= {"model": cfg.model.model_dump(mode="json"), "trained": member.arm.trains}
        if "reward" in member.arm.needs:
            named = member.layout.names("reward", member.arm.rewarded)
            own |= {"reward": cfg.reward.model_dump(mode="json"), "reward_model": named}
            own |= {"reward_pairs": member.arm.reward_n}
    return run | place | {"evaluation": evaluation, "declared": own}


def search_of(found: dict[str, dict], method: str) -> str:
    """Return how much a method was searched, in words: the same for all that were searched alike.

    found: {method: its search} of the tuned settings. Searches are alike if they have as many
    trials, or if their FLOPs are.
    """
    trials = {own["trials"] for own in found.values()}
    if method in found and len(trials) > 1 and fairness.as_many_flops(found):
        return f"trials of as many FLOPs as the others', within a factor of {fairness.ALIKE:g}"
    return f"{found.get(method, {}).get('trials', 0)} trials"


def draws(layout: Layout, key: str, evaluation: dict | None) -> dict[str, int]:
    """Return {key: how many answers to a prompt an evaluation should have, as configured}."""
    return {key: getattr(layout.cfg.eval, key)} if layout.cfg and evaluation else {}


def paid(member: Member) -> list[dict]:
    """Return the records of the steps that a run is charged for besides its own."""
    places = [member.needed[need] for need in member.arm.needs]
    return [read_json((p if p.is_dir() else p.parent) / STEP) for p in places]


def check(
    members: Sequence[Member], bases: dict[str, Layout], provenance=None, evaluated: bool = True
) -> dict:
    """Return the content of contract.json: number of runs, the rules, and every breach.

    bases: the SFT bases that the runs start from; provenance: of the tuned settings.
    """
    entries = ledger(members, provenance)
    starts = {name: _start(at) for name, at in (bases.items() if evaluated else ())}
    wrong = evidence(members, bases, evaluated)
    breaches = [*fairness.altered(wrong), *fairness.breaches(entries, starts, evaluated)]
    rules = [asdict(rule) for rule in fairness.RULES]
    return {"runs": sum("arm" in run for run in entries), "rules": rules, "breaches": breaches}


def _start(layout: Layout) -> dict:
    """Return the eval.json of an SFT base, with the base's name and the draws as configured."""
    found = read_json(layout.evaluation(None).record)
    known = draws(layout, "base_draws", found)
    return found | {"base": layout.names("sft"), "declared": known}


def run(cfg, args) -> None:
    """Write contract.json; raises UserError for a breach if the study is strict."""
    result = check(cfg.members, cfg.sft_bases, cfg.searched, cfg.evaluated)
    if not result["runs"]:
        raise UserError(f"{cfg.layout.root / 'align'} holds no run of this study: run snakemake")
    write_record(cfg.layout.contract, result)
    lines = [fairness.sentence(breach) for breach in result["breaches"]]
    if lines and cfg.strict:
        raise UserError(refusal(lines))
    for line in lines or [f"{result['runs']} runs, no breach"]:
        say("contract", line)


def refusal(lines: list[str]) -> str:
    """Say what breaches a strict study has, and the remedy."""
    remedy = "make the runs named here again, or leave out `strict` to have the report stamped"
    return f"{' | '.join(lines)} | {remedy}"
