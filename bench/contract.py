"""Check the fairness contract over all runs of a study: contract.json.

    python -m bench.contract --testbed micro [--set strict=true]

A breach is said here and stamped on the report; with `strict` it is an error.
What must match and what must differ is declared in `bench/analysis/contract.py`.
"""

from dataclasses import asdict
from pathlib import Path

from bench import cli
from bench.analysis import contract
from bench.runs import SFT, read_evaluation, read_run
from bench.schema import UserError


def ledger(root: Path, keys, tuning: dict | None = None, arms: dict | None = None) -> list[dict]:
    """One entry a run of the study, those that left no run.json too.

    arms: what each arm is configured to be (`declared`), where that is to be checked.
    """
    known = arms or {}
    return [_entry(root, arm, seed, tuning) | {"declared": known.get(arm)} for arm, seed in keys]


def declared(arm) -> dict:
    """What the runs of a configured arm must say of themselves."""
    known = {"method": arm.method, "data": arm.data, "origin": arm.start}
    return known | {"settings": arm.settings.model_dump(mode="json")}


def _entry(root: Path, arm: str, seed: int, tuning: dict | None) -> dict:
    """A run.json with where it lay, its evaluation and the trials that tuned its method."""
    run = read_run(root, arm, seed)
    if run and tuning:
        tuned = tuning.get("methods", {}).get(run.get("method"), {})
        run |= {"tuning_trials": tuned.get("trials", 0)}
    evaluation = read_evaluation(root, arm, seed) or None
    return run | {"folder_arm": arm, "folder_seed": seed, "evaluation": evaluation}


def check(
    root: Path, keys, tuning: dict | None = None, evaluated: bool = True, arms: dict | None = None
) -> dict:
    """The content of contract.json: number of runs, the rules, and every breach."""
    entries = ledger(root, keys, tuning, arms)
    base = read_evaluation(root, SFT, 0) if evaluated else None
    found = contract.breaches(entries, base or None, evaluated)
    rules = [asdict(rule) for rule in contract.RULES]
    return {"runs": sum("arm" in run for run in entries), "rules": rules, "breaches": found}


def run(cfg, args) -> None:
    """Writes contract.json; raises UserError for a breach where the study is strict."""
    arms = {name: declared(cfg.arm(name)) for name in cfg.study_arms}
    result = check(cfg.runs, cfg.study_runs, cfg.tuning, cfg.evaluated, arms)
    if not result["runs"]:
        raise UserError(f"{cfg.runs / 'align'} holds no run of this study: run snakemake")
    cli.write_json(cfg.study_dir / "contract.json", result)
    lines = [contract.sentence(breach) for breach in result["breaches"]]
    if lines and cfg.strict:
        raise UserError(refusal(lines))
    for line in lines or [f"{result['runs']} runs, no breach"]:
        cli.say("contract", line)


def refusal(lines: list[str]) -> str:
    """What a strict study says of its breaches, and the remedy."""
    remedy = "make the runs named here again, or leave out `strict` to have the report stamped"
    return f"{' | '.join(lines)} | {remedy}"


if __name__ == "__main__":
    cli.main("contract", run)
