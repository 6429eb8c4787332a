"""Gather every run of a study into tidy tables: results/*.csv, samples.jsonl and meta.json.

    python -m bench.collect --testbed micro [--set key=value ...]

One row is one thing (a run, a phase of a run, a point of a curve, an answer to a prompt, a task)
and each table leads with arm, method and seed. What the tables mean is in `bench/analysis`.
"""

import json
import math
import subprocess
from pathlib import Path

from bench import cli
from bench.names import OWN_POOLS, POOL, pool_of
from bench.runs import SFT, read_json, read_runs

COUNTED = ("wall_s", "cpu_s", "tokens", "generated", "flops")
NESTED = ("cost", "settings", "versions", "machine", "decode", "hashes", "overrides")


def runs_table(runs: list[dict], evals: list[dict]):
    """One row a run: every plain field, hashes as hash_<name>, settings as JSON."""
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
    """The table with arm, method, seed as its first columns."""
    first = [c for c in ("arm", "method", "seed") if c in table]
    return table[first + [c for c in table if c not in first]]


def stack(root: Path, step: str, file: str, keys: list[tuple[str, str, int]]):
    """The csv `file` of every (arm, method, seed) below each other; missing and empty ones skip."""
    import pandas as pd

    tables = []
    for arm, method, seed in keys:
        path = root / step / arm / f"seed{seed}" / file
        if path.exists():
            table = read_csv(path)
            table = table.drop(columns=[c for c in ("arm", "method", "seed") if c in table])
            tables.append(table.assign(arm=arm, method=method, seed=seed))
    full = [t for t in tables if len(t)] or tables[:1]
    head = pd.DataFrame(columns=["arm", "method", "seed"])
    return _lead(pd.concat(full, ignore_index=True)) if full else head


def read_csv(path: Path):
    """A csv as a table; a table without columns where the file has not even a header."""
    import pandas as pd

    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def cost_table(root: Path, runs: list[dict], evals: list[dict], needs: dict):
    """One row a phase of a step, for every run that pays for it.

    A run pays for its own training, for its seed's reward model if the method needs one, and for
    reference log-probabilities of its own pairs (`share` of the pool's). Steps that all methods
    share (base, SFT, pairs) stand once under the arm `shared`, evaluation is never charged.
    """
    import pandas as pd

    rows = []
    for run in runs:
        key = {k: run[k] for k in ("arm", "method", "seed")}
        rows += _phases(key, "align", run)
        for need in needs.get(run["method"], ()):
            rows += _phases(key, need, *_needed(root, need, run))
        if (pool := pool_of(run["data"])) != POOL:  # the testbed's own pairs are shared by all
            rows += _phases(key, pool, *_own_pairs(root, pool, run))
    methods = {r["arm"]: r["method"] for r in runs}
    for e in evals:
        key = {"arm": e["arm"], "method": methods.get(e["arm"], SFT), "seed": e["seed"]}
        rows += _phases(key, "evaluate", e, charged=False)
    for step in ("base", SFT, "pairs"):
        key = {"arm": "shared", "method": "shared", "seed": 0}
        rows += _phases(key, step, read_json(root / step / "step.json"))
    return pd.DataFrame(rows, columns=None if rows else list(_phases({}, "", {"cost": [{}]})[0]))


def _own_pairs(root: Path, pool: str, run: dict) -> tuple[dict, float]:
    """The record of the answers sampled for a pool, and the share that the run learns from."""
    record = read_json(root / "pairs" / f"{pool}.json")
    pool, pairs = record.get("metrics", {}).get("pairs"), run.get("pairs")
    return record, min(1.0, pairs / pool) if pool and pairs else 1.0


def _needed(root: Path, need: str, run: dict) -> tuple[dict, float]:
    """The step.json a run depends on, and the share of its cost that the run would pay alone."""
    if need != "reference":
        folder = root / need / run["data"] / f"seed{run['seed']}"
        return read_json(folder / "step.json"), 1.0
    folder = root / "reference" / pool_of(run["data"])
    logps = folder / "logps.csv"
    pool = sum(1 for _ in logps.open()) - 1 if logps.exists() else 0
    pairs = run.get("pairs") or pool
    return read_json(folder / "step.json"), min(1.0, pairs / pool) if pool else 1.0


def _phases(key: dict, step: str, record: dict, share: float = 1.0, charged: bool = True) -> list:
    """The cost rows of one record (run.json, step.json or eval.json)."""
    head = {"arm": "", "method": "", "seed": 0} | key
    return [
        head
        | {"step": step, "phase": c.get("phase", step)}
        | {"charged": charged and c.get("charged", True), "share": share}
        | {k: share * (c.get(k) or 0) for k in COUNTED}
        | {"joules": share * c["joules"] if c.get("joules") is not None else None}
        for c in record.get("cost", [])
    ]


def reward_table(root: Path):
    """One row a reward model: labels, seed and the plain metrics of its step.json."""
    import pandas as pd

    rows = []
    for path in sorted((root / "reward").glob("*/seed*/step.json")):
        record = read_json(path)
        metrics = {k: v for k, v in record.get("metrics", {}).items() if not isinstance(v, dict)}
        seed = int(path.parent.name.removeprefix("seed"))
        row = {"labels": path.parent.parent.name, "seed": seed, "peak_mb": record.get("peak_mb")}
        rows.append(row | metrics)
    return pd.DataFrame(rows, columns=None if rows else ["labels", "seed", "peak_mb"])


def ledger_table(root: Path, runs: list[dict]):
    """One row a step: its processes, and their seconds in all, imports and evaluation included.

    Of what other studies made in the same folder nothing: a process that is named by a seed counts
    if a run of this study is, or needs, what it made.
    """
    import pandas as pd

    rows = [read_json(path) for path in sorted((root / "ledger").glob("*.json"))]
    names = [f"{run[key]} seed {run['seed']}" for run in runs for key in ("arm", "data")]
    own = {f"{SFT} seed 0", *names}
    foreign = set(OWN_POOLS) - {pool_of(run["data"]) for run in runs}
    last = ("contract", "collect", "tune", "report", "blog")
    rows = [r for r in rows if r["step"] not in last and _is_of(r["process"], own, foreign)]
    table = pd.DataFrame(rows, columns=["step", "arm", "wall_s", "cpu_s"])
    sums = table.groupby("step", sort=False).agg(
        processes=("step", "size"), wall_s=("wall_s", "sum"), cpu_s=("cpu_s", "sum")
    )
    return sums.sort_values("cpu_s", ascending=False).reset_index()


def _is_of(process: str, own: set[str], foreign: set[str]) -> bool:
    """Whether a process ('sft', 'dpo seed 1', 'reward gold seed 1') belongs to the runs ``own``.

    foreign: pools that none of them draws from.
    """
    if " seed " not in process:
        return process.rpartition(" ")[2] not in foreign
    return process in own or process.partition(" ")[2] in own


def read_samples(root: Path, keys: list[tuple[str, str, int]]) -> list[dict]:
    """The evaluated answers of every run, with arm and seed."""
    rows = []
    for arm, _, seed in keys:
        path = root / "evaluate" / arm / f"seed{seed}" / "samples.jsonl"
        if path.exists():
            lines = path.read_text(encoding="utf-8").split("\n")
            rows += [
                {"arm": arm, "seed": seed} | json.loads(line) for line in lines if line.strip()
            ]
    return rows


def gather(root: Path, arms: dict[str, str], study, needs: dict, breaches=(), evaluated=True):
    """Tables by name, samples, and what `meta.json` says of the runs.

    arms: {arm: method}; study: its runs, as (arm, seed); breaches: of the fairness contract;
    evaluated: whether the study asks for evaluations (another one may have left some).
    """
    runs, evals = read_runs(root, study)
    evals = evals if evaluated else []
    keys = [(SFT, SFT, 0)] + [(arm, arms[arm], seed) for arm, seed in study]
    asked = keys if evaluated else []
    tables = {
        "runs": runs_table(runs, evals),
        "cost": cost_table(root, runs, evals, needs),
        "curve": stack(root, "align", "curve.csv", keys),
        "log": stack(root, "align", "log.csv", keys),
        "prompts": stack(root, "evaluate", "prompts.csv", asked),
        "tasks": stack(root, "evaluate", "tasks.csv", asked),
        "reward": reward_table(root),
        "ledger": ledger_table(root, runs),
    }
    pool = read_json(root / "pairs" / "step.json").get("metrics", {})
    gold = read_json(root / "data" / "manifest.json").get("gold", {})
    facts = _facts(runs) | {"pool": pool, "gold": gold, "breaches": list(breaches)}
    present = {(r["arm"], r["seed"]) for r in runs}
    done = {(e["arm"], e["seed"]) for e in evals} if evaluated else present
    facts["complete"] = present & done >= set(study)
    return tables, read_samples(root, asked), facts


def _facts(runs: list[dict]) -> dict:
    """The part of meta.json that the runs themselves declare."""
    first = runs[0] if runs else {}
    return {
        "machine": first.get("machine", {}),
        "versions": first.get("versions", {}),
        "decode": first.get("decode", {}),
        "overrides": sorted({o for r in runs for o in r.get("overrides", [])}),
    }


def commit() -> str:
    """The commit that the code was at, '+changes' where files differ from it, else 'unknown'."""
    folder = Path(__file__).parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+changes" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    """Output of a git command in a folder."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def plain(value):
    """JSON has no NaN: such numbers become null, at any depth."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(out: Path, tables: dict, samples: list[dict], meta: dict) -> None:
    """results/: the tables as csv, samples.jsonl, and meta.json last, each renamed into place."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        put(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    lines = (json.dumps(plain(s), ensure_ascii=False) + "\n" for s in samples)
    put(out / "samples.jsonl", "".join(lines))
    put(out / "meta.json", json.dumps(plain(meta), indent=1, sort_keys=True) + "\n")


def put(path: Path, text: str) -> None:
    """Write a file under another name, then rename: a reader never sees half of it."""
    with cli.atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def read(out: Path) -> tuple[dict, list[dict], dict]:
    """What `write` wrote: tables by name, samples, meta."""
    tables = {p.stem: read_csv(p) for p in sorted(out.glob("*.csv"))}
    lines = (out / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    return tables, [json.loads(x) for x in lines if x.strip()], read_json(out / "meta.json")


def described(cfg, name: str) -> dict:
    """An arm's name, method, labels and start; which settings are not its method's tuned ones, and
    by which factors its learning rate, strength and epochs differ from them."""
    arm = cfg.arm(name)
    own, tuned = arm.settings.model_dump(), getattr(cfg, arm.method).model_dump()
    varies = [key for key, value in own.items() if value != tuned[key]]
    known = [key for key in ("lr", "beta", "epochs") if key in varies and tuned[key]]
    factors = {key: float(f"{own[key] / tuned[key]:.2g}") for key in known}
    head = {"name": name, "method": arm.method, "labels": arm.data, "n": arm.n}
    head |= {"start": arm.start, "judge": arm.judge}
    return head | {"varies": varies, "factors": factors}


def run(cfg, args) -> None:
    """Collect the configured study into its results folder."""
    from bench.data import world
    from bench.methods import METHODS

    arms = {name: cfg.arm(name).method for name in cfg.study_arms}
    needs = {name: method.NEEDS for name, method in METHODS.items()}
    found = json.loads((cfg.study_dir / "contract.json").read_text(encoding="utf-8"))["breaches"]
    study = cfg.study_runs
    tables, samples, facts = gather(cfg.runs, arms, study, needs, found, cfg.evaluated)
    changed = [o for o in cfg.overrides if not o.startswith(("study=", "strict="))]
    meta = facts | {
        "testbed": cfg.testbed,
        "study": cfg.study,
        "commit": commit(),
        "overrides": sorted({*changed, *facts["overrides"]}),
        "default_settings": not changed and not facts["overrides"],
        "seeds": sorted({seed for _, seed in study}),
        "pairs": cfg.pairs.n,
        "tuning": cfg.tuning,
        "tune": cfg.tune.model_dump(mode="json"),
        "price": cfg.price.model_dump(),
        "arms": [described(cfg, arm) for arm in arms],
        "methods": list(METHODS),
        "tuned_families": list(world(cfg.data.kind).TUNED_FAMILIES),
    }
    out = cfg.study_dir / "results"
    write(out, tables, samples, meta)
    cli.say("collect", f"{len(tables['runs'])} runs -> {out}")


if __name__ == "__main__":
    cli.main("collect", run)
