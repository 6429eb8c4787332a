"""Gather every run of a study into tidy tables: results/*.csv, samples.jsonl and meta.json.

    python -m bench collect --testbed micro [--set key=value ...]

One row is one thing (a run, a phase of a run, a point of a curve, an answer to a prompt, a task),
and tables of runs begin with arm, method and seed. `bench/analysis/results.py` declares them.
"""

import json
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.analysis import fairness
from bench.analysis.results import COLUMNS, SCHEMA, Arm, Meta, Pick, Results
from bench.core.files import REMEDY, read_csv, read_json
from bench.core.grouping import grouped
from bench.core.layout import Layout, Member
from bench.core.names import POOL, SFT, pool_of
from bench.core.progress import say
from bench.core.schema import UserError
from bench.settings import layers
from bench.steps._altered import STEP
from bench.steps._picked import picked
from bench.steps.contract import check
from bench.worlds import world

SCALED = ("lr", "critic_lr", "beta", "epochs")  # settings of a method that studies multiply

DRAWS = 4  # answers to a prompt of an arm's first run that reports show
DIGITS = 4  # of a score of an answer; with more, half of a report's evidence would be noise

Members = Sequence[Member]
COUNTED = ("wall_s", "cpu_s", "tokens", "generated", "flops")
NESTED = ("cost", "settings", "versions", "machine", "decode", "hashes", "overrides")


def runs_table(runs: list[dict], evals: list[dict]):
    """Return one row per run: every plain field, hashes as hash_<name>, settings as JSON."""
    import pandas as pd

    models = {(e["arm"], e["seed"]): e for e in evals}
    rows = []
    for run in runs:
        row = {k: v for k, v in run.items() if k not in NESTED}
        row |= {f"hash_{k}": v for k, v in run.get("hashes", {}).items()}
        evaluation = models.get((run["arm"], run["seed"]), {})
        row |= {"evaluated": bool(evaluation)}
        row |= {"settings": json.dumps(run.get("settings", {}), sort_keys=True)}
        rows.append(row)
    return _lead(pd.DataFrame(rows))


def _lead(table):
    """Move arm, method and seed to the front of a table."""
    first = [c for c in ("arm", "method", "seed") if c in table]
    return table[first + [c for c in table if c not in first]]


def stack(rows: list[tuple[str, str, int, Path]]):
    """Stack the tables of (arm, method, seed, file), without missing and empty ones."""
    import pandas as pd

    tables = []
    for arm, method, seed, path in rows:
        if path.exists():
            table = read_csv(path)
            table = table.drop(columns=[c for c in ("arm", "method", "seed") if c in table])
            tables.append(table.assign(arm=arm, method=method, seed=seed))
    full = [t for t in tables if len(t)] or tables[:1]
    head = pd.DataFrame(columns=["arm", "method", "seed"])
    return _lead(pd.concat(full, ignore_index=True)) if full else head


def rounded(table):
    """Return a table with the numbers of its columns of fractions cut to DIGITS digits."""
    import numpy as np

    for name in table.select_dtypes("float"):
        values = table[name].to_numpy(copy=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        known = np.isfinite(place)
        scale = 10.0 ** place[known]
        values[known] = np.round(values[known] * scale) / scale
        table[name] = values
    return table


def cost_table(members: Members, runs: list[dict], evals: list[dict], shared: Layout):
    """Return one row per phase of a step, for every run that is charged for it.

    A run is charged for its own training, for its seed's reward model if the method needs one, and
    for the reference log-probabilities of its own pairs (`share` of the pool's). Steps that all
    methods share (base, SFT, pairs) appear once, under the arm `shared`; evaluation is never
    charged.
    """
    import pandas as pd

    rows, known = [], {(m.arm.name, m.seed): m for m in members}
    for run in runs:
        key = {k: run[k] for k in ("arm", "method", "seed")}
        member = known[run["arm"], run["seed"]]
        rows += _phases(key, "align", run)
        for need in member.arm.needs:
            rows += _phases(key, need, *_needed(member, need, run))
        if (pool := pool_of(member.arm.label_set)) != POOL:  # all share the testbed's own pool
            rows += _phases(key, pool, *_own_pairs(member, pool, run))
    for e in evals:
        key = {k: e[k] for k in ("arm", "method", "seed")}
        rows += _phases(key, "evaluate", e, charged=False)
    records = {
        "base": shared.base / STEP,
        SFT: shared.sft / STEP,
        "pairs": shared.pool_record(POOL),
    }
    for step, path in records.items():
        key = {"arm": "shared", "method": "shared", "seed": 0}
        rows += _phases(key, step, read_json(path))
    return pd.DataFrame(rows, columns=None if rows else list(_phases({}, "", {"cost": [{}]})[0]))


def _own_pairs(member: Member, pool: str, run: dict) -> tuple[dict, float]:
    """Return the record of the answers sampled for a pool, and the share that the run uses."""
    record = read_json(member.layout.pool_record(pool))
    pool, pairs = record.get("metrics", {}).get("pairs"), run.get("pairs")
    return record, min(1.0, pairs / pool) if pool and pairs else 1.0


def _needed(member: Member, need: str, run: dict) -> tuple[dict, float]:
    """Return the step.json that a run depends on, and the share of its cost that the run is
    charged."""
    place = member.needed[need]
    if need != "reference":
        return read_json(place / STEP), 1.0
    pool = sum(1 for _ in place.open()) - 1 if place.exists() else 0
    pairs = (run.get("pairs") or pool) / member.arm.copies  # copies are read once
    return read_json(place.with_name(STEP)), min(1.0, pairs / pool) if pool else 1.0


def _phases(key: dict, step: str, record: dict, share: float = 1.0, charged: bool = True) -> list:
    """Return the cost rows of one record (run.json, step.json or eval.json)."""
    head = {"arm": "", "method": "", "seed": 0} | key
    return [
        head
        | {"step": step, "phase": c.get("phase", step)}
        | {"charged": charged and c.get("charged", True), "share": share}
        | {k: _part(share, c.get(k, 0)) for k in COUNTED}
        | {"joules": _part(share, c.get("joules"))}
        for c in record.get("cost", [])
    ]


def _part(share: float, value: float | None) -> float | None:
    """Return a share of a cost; None if the cost is unknown."""
    return None if value is None else share * value


def reward_table(members: Members, evaluated: bool = True):
    """Return one row per reward model that a run trained against or, if evaluated, was scored by.

    Columns: its name, label set and seed, peak_mb, and the plain metrics of its step.json.
    """
    import pandas as pd

    places = {}
    for m in members:
        for label_set in m.reward_models(evaluated):
            name = m.layout.names("reward", label_set)
            places[m.layout.reward(label_set, m.seed)] = (name, label_set, m.seed)
    rows = []
    for path, place in sorted(places.items(), key=lambda item: str(item[0])):
        if not (path / STEP).exists():
            continue
        record = read_json(path / STEP)
        metrics = {k: v for k, v in record.get("metrics", {}).items() if not isinstance(v, dict)}
        head = dict(zip(("reward_model", "label_set", "seed"), place, strict=True))
        rows.append(head | {"peak_mb": record.get("peak_mb")} | metrics)
    return pd.DataFrame(
        rows, columns=None if rows else ["reward_model", "label_set", "seed", "peak_mb"]
    )


def variety_table(evals: list[dict]):
    """Return a row for each draw of an evaluation, the distinct bigrams of its answers; and a row
    for each number of answers of which the best is taken (``bench.evaluation.variety``)."""
    import pandas as pd

    rows = []
    for found in evals:
        head = {key: found[key] for key in ("arm", "method", "seed")}
        shares = enumerate(found.get("distinct2", []))
        rows += [head | {"draw": i, "distinct2": share} for i, share in shares]
        rows += [head | best for best in found.get("best_of", [])]
    return pd.DataFrame(rows, columns=list(COLUMNS["variety"]))


def ledger_table(members: Members, bases: dict[str, Layout], overhead: Path, evaluated=True):
    """Return one row per step: its processes and all their seconds, with imports and evaluation.

    Leaves out what other studies made in the same folder. overhead: the record of Snakemake and the
    warm process (``bench.core.warm``), in all tries and as far as they have come.
    """
    import pandas as pd

    paths = [path for member in members for path in member.ledgers(evaluated)]
    for layout in bases.values():
        paths += [layout.ledger(step, layout.names(step)) for step in ("data", "base", "sft")]
        paths += [layout.ledger("pairs", layout.names("pairs", POOL))]
        paths += [layout.ledger("evaluate", layout.evaluation_name(None), 0)] * evaluated
    rows = [read_json(path) for path in sorted({*paths}) if path.exists()]
    rows += _overhead(overhead)
    table = pd.DataFrame(rows, columns=["step", "arm", "wall_s", "cpu_s"])
    sums = table.groupby("step", sort=False).agg(
        processes=("step", "size"), wall_s=("wall_s", "sum"), cpu_s=("cpu_s", "sum")
    )
    return sums.sort_values("cpu_s", ascending=False).reset_index()


def _overhead(path: Path) -> list[dict]:
    """Read the record of Snakemake and the warm process; raises UserError if it is none."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [{key: row[key] for key in ("step", "wall_s", "cpu_s")} for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of time ({error}): {REMEDY}") from None


def read_samples(rows: list[tuple[str, str, int, Path]]) -> list[dict]:
    """Return the first answer to each prompt of every (arm, method, seed, file), with arm and
    seed; of each arm's first run that has answers, DRAWS of them."""
    found, known = [], set()
    for arm, _, seed, path in rows:
        if path.exists():
            draws = 1 if arm in known else DRAWS
            try:
                lines = path.read_text(encoding="utf-8").split("\n")
                answers = [json.loads(line) for line in lines if line.strip()]
                kept = [row for row in answers if row["draw"] < draws]
                known |= {arm} if kept else set()
                found += [{"arm": arm, "seed": seed} | row for row in kept]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path} holds no answers ({error}): {REMEDY}") from None
    return found


def gather(
    members: Members,
    layout: Layout,
    bases: dict[str, Layout],
    breaches=(),
    evaluated=True,
    tried: Members = (),
):
    """Return tables by name, samples, and what `meta.json` says of the runs.

    members: the study's runs; layout: of the study; bases: the SFT bases that they start from;
    breaches: of the fairness contract; evaluated: whether the study asks for evaluations (another
    study may have left some); tried: runs that tried candidates, whose time counts.
    """
    shared = next(iter(bases.values()))
    runs = [run | prepared(m) for m in members if (run := read_json(m.files.record))]
    keys = [(m.arm.name, m.arm.method, m.seed, m.files, m.evaluation) for m in members]
    asked = [(name, SFT, 0, at.evaluation(None)) for name, at in bases.items()] if evaluated else []
    asked += [(*key, own) for *key, _, own in keys] if evaluated else []
    evals = [
        found | {"arm": arm, "method": method}
        for arm, method, _, at in asked
        if (found := read_json(at.record))
    ]
    tables = {
        "runs": runs_table(runs, evals),
        "cost": cost_table(members, runs, evals, shared),
        "curve": stack([(*key, files.curve) for *key, files, _ in keys]),
        "log": stack([(*key, files.log) for *key, files, _ in keys]),
        "prompts": rounded(stack([(*key, at.prompts) for *key, at in asked])),
        "variety": variety_table(evals),
        "tasks": stack([(*key, at.tasks) for *key, at in asked]),
        "items": stack([(*key, at.items) for *key, at in asked]),
        "reward": reward_table(members, evaluated),
        "ledger": ledger_table([*members, *tried], bases, layout.overhead, evaluated),
    }
    pool = read_json(shared.pool_record(POOL)).get("metrics", {})
    gold = read_json(shared.manifest).get("gold", {})
    facts = _facts(runs) | {"pool": pool, "gold": gold, "breaches": list(breaches)}
    wrong = any(breach["field"] in fairness.WRONG for breach in breaches)
    present = {(r["arm"], r["seed"]) for r in runs}
    done = {(e["arm"], e["seed"]) for e in evals} if evaluated else present
    whole = present & done >= {(m.arm.name, m.seed) for m in members}
    facts |= {"complete": whole and not wrong, "planned": planned(members)}
    return tables, read_samples([(*key, at.samples) for *key, at in asked]), facts


def prepared(member: Member) -> dict[str, float | None]:
    """Return the peak memory of computing the reference log-probs that a run is charged."""
    table = member.needed.get("reference")
    record = read_json(table.with_name(STEP)) if table else {}
    return {"reference_peak_mb": record.get("peak_mb")}


def planned(members: Members) -> dict[str, list[int]]:
    """Return {arm: the seeds that it is to run with}."""
    return grouped((member.arm.name, member.seed) for member in members)


def _facts(runs: list[dict]) -> dict:
    """Return the part of meta.json that the runs themselves declare."""
    first = runs[0] if runs else {}
    return {
        "machine": first.get("machine", {}),
        "versions": first.get("versions", {}),
        "decode": first.get("decode", {}),
        "overrides": sorted({o for r in runs for o in r.get("overrides", [])}),
    }


def commit() -> str:
    """Return the commit of the code, with '+changes' if files differ from it; 'unknown' without
    git."""
    folder = Path(__file__).parents[1]  # the package
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+changes" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def own_version() -> str:
    """Return the installed version of this package."""
    try:
        return version("prefbench")
    except PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *words: str) -> str:
    """Return the output of a git command in a folder."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def described(cfg, name: str) -> Arm:
    """Return an arm as it is configured.

    Its factors are the ratios of its rates, strength and epochs to its method's tuned ones.
    """
    layout = cfg.of(name).layout
    arm = picked(layout, cfg.arm(name))
    own, tuned = arm.settings.model_dump(), getattr(cfg, arm.method).model_dump()
    varies = [key for key, value in own.items() if value != tuned[key]]
    upstream = [item.partition("=")[0] for item in cfg.changes(cfg.of(name))]
    known = [key for key in SCALED if key in varies and tuned[key]]
    factors = {key: own[key] / tuned[key] for key in known}
    if "reward" in arm.upstream:
        factors["reward.lr"] = cfg.of(name).reward.lr / cfg.reward.lr
    return Arm(
        name=name,
        method=arm.method,
        label_set=arm.label_set,
        n=arm.n,
        start=arm.start,
        trains=arm.trains,
        base=cfg.base_of(name),
        proxy=layout.names("reward", arm.proxy) if arm.proxy else "",
        varies=(*varies, *upstream, *(["reward_n"] if arm.reward_n else [])),
        factors={key: float(f"{factor:.2g}") for key, factor in factors.items()},
        sets=cfg.set_by(name),
    )


def pick_of(cfg, name: str) -> Pick | None:
    """Return what was picked for an arm; None if it has no candidates."""
    arm = cfg.arm(name)
    found = read_json(cfg.of(name).layout.pick(arm)) if arm.candidates else {}
    return Pick(**{key: found[key] for key in ("picked", "seeds", "candidates")}) if found else None


def run(cfg, args) -> None:
    """Collect the configured study into its results folder."""
    read_json(cfg.layout.contract, needed=True)
    results = collected(cfg)
    results.write(cfg.layout.results)
    say("collect", f"{len(results.runs)} runs -> {cfg.layout.results}")


def collected(cfg) -> Results:
    """Gather the configured study; the fairness contract is checked anew."""
    found = check(cfg.members, cfg.sft_bases, cfg.searched, cfg.evaluated)["breaches"]
    how = (found, cfg.evaluated, cfg.tried)
    tables, samples, facts = gather(cfg.members, cfg.layout, cfg.sft_bases, *how)
    slim = getattr(cfg.plan, "slim", lambda results: results)
    return slim(Results.of(tables, samples, meta_of(cfg, facts)))


def changed(overrides) -> list[str]:
    """Return the overrides that a report names: all but the study and its strictness."""
    return sorted(item for item in overrides if not item.startswith(("study=", "strict=")))


def meta_of(cfg, facts: dict) -> Meta:
    """Return the Meta of the tables; facts: what `gather` says of the runs."""
    overrides = sorted({*changed(cfg.overrides), *facts["overrides"]})
    return Meta(
        **facts | {"overrides": overrides, "default_settings": not overrides},
        schema=SCHEMA,
        testbed=cfg.testbed,
        world=cfg.data.kind,
        about=layers.about(cfg.source),
        source=cfg.source,
        study=cfg.study,
        commit=commit(),
        version=own_version(),
        seeds=sorted({member.seed for member in cfg.members}),
        pairs=cfg.pairs.n,
        provenance=cfg.searched,
        tune=cfg.tune.model_dump(mode="json"),
        price=cfg.price.model_dump(),
        arms=[described(cfg, arm) for arm in cfg.study_arms],
        picks={name: found for name in cfg.study_arms if (found := pick_of(cfg, name))},
        methods=list(cfg.known_methods),
        own_methods={Path(path).stem: path for path in cfg.methods},
        noted=getattr(cfg.plan, "noted", lambda cfg: {})(cfg),
        tuned_families=list(world(cfg.data.kind).TUNED_FAMILIES),
    )
