"""Pick each method's settings from its trials (`study=tune`) and write runs/<testbed>/tuned.yaml.

    python -m bench tune --testbed micro --set study=tune

Copied beside the testbed's file as <testbed>.tuned.yaml, it is a layer over the testbed: its
settings become the defaults, and every report states where they come from.
"""

import os
from math import isnan

import yaml

from bench.analysis.results import Meta, Results
from bench.core.files import atomic
from bench.core.progress import say
from bench.core.schema import UserError
from bench.settings.layers import tuned_file
from bench.studies.tune import analysis

HEAD = """\
# Written by `snakemake --cores all --config testbed={testbed} study=tune`: for each method the best
# of {trials} trials. Copy it to {target} to make it the default.
"""


def run(cfg, args) -> None:
    """Write ``tuned.yaml``; raises UserError if all trials of a method failed."""
    if cfg.study != "tune":
        raise UserError("there is nothing to pick from: use --set study=tune")
    results = Results.read(cfg.layout.results)
    table = analysis.trials(results)
    best = analysis.picked(table)
    lost = [method for method in results.meta.methods if method not in best.index]
    if lost:
        raise UserError(f"every trial of {', '.join(lost)} failed: move its tune.spaces")
    out = cfg.layout.tuned
    target = os.path.relpath(tuned_file(cfg.source))
    text = HEAD.format(testbed=cfg.source, trials=cfg.tune.trials, target=target)
    layer = {method: dict(best.drawn[method]) for method in best.index}
    layer["provenance"] = provenance(cfg, results.meta, table, best)
    with atomic(out) as part:
        part.write_text(text + yaml.safe_dump(layer, sort_keys=False), encoding="utf-8")
    for method, row in best.iterrows():
        drawn = ", ".join(f"{key} {value:g}" for key, value in row.drawn.items())
        say("tune", f"{method}: {drawn} ({row.arm}, gold {row.gold:.2f} on validation)")
    say("tune", f"{out}; to make it the default: cp {out} {target}")


def provenance(cfg, meta: Meta, table, best) -> dict:
    """Return where the settings come from, and what finding them cost."""
    head = {
        "rule": analysis.RULE,
        "seed": cfg.tune.seed,
        "spaces": {m: {k: list(v) for k, v in s.items()} for m, s in cfg.tune.spaces.items()},
        "commit": meta.commit,
        "machine": meta.machine,
    }
    rows = {method: table[table.method == method] for method in best.index}
    found = {
        method: {
            "trials": len(mine),
            "failed": int((mine.status != "ok").sum()),
            "picked": best.arm[method],
            "gains": [None if isnan(g) else round(float(g), 4) for g in mine.gain],
            "gold": round(float(best.gold[method]), 4),
            "flops": float(f"{mine.flops.sum():.4g}"),
            "cpu_s": round(float(mine.cpu_s.sum()), 1),
            "wall_s": round(float(mine.wall_s.sum()), 1),
        }
        for method, mine in rows.items()
    }
    return head | {"methods": found}
