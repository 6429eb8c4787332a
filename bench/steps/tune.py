"""Pick each method's settings from its trials or finals, and write them to tuned.yaml.

    python -m bench tune --testbed micro --set study=tune
    python -m bench tune --testbed micro --set study=finals

Copied beside the testbed's file as <testbed>.tuned.yaml, it is a layer over the testbed: its
settings become the defaults, every report states where they come from, and the study `finals` finds
its candidates.
"""

import os
from math import isnan

import yaml

from bench.analysis.results import Meta, Results
from bench.core.files import atomic
from bench.core.progress import say
from bench.core.schema import UserError
from bench.settings.layers import read, tuned_file
from bench.settings.overrides import merge
from bench.studies.finals import analysis as finals
from bench.studies.tune import analysis, nested

HEAD = """\
# Written by `snakemake --cores all --config testbed={testbed} study={study}`. Copy it to
# {target} to make it the default.
"""


def run(cfg, args) -> None:
    """Write ``tuned.yaml``; raises UserError if all runs of a method failed."""
    makers = {"tune": of_trials, "finals": of_finals}
    if cfg.study not in makers:
        raise UserError("there is nothing to pick from: set study=tune or study=finals")
    results = Results.read(cfg.layout.results)
    picked, more = makers[cfg.study](cfg, results)
    lost = [m for m in dict.fromkeys(arm.method for arm in results.meta.arms) if m not in picked]
    if lost:
        raise UserError(f"every run of {', '.join(lost)} failed: move its tune.spaces")
    layer: dict = {}
    for method, settings in picked.items():
        own = nested(settings)
        shared = {key: own.pop(key) for key in ("reward",) if key in own}
        layer = merge(layer, {method: own} | shared)
        say("tune", f"{method}: {', '.join(f'{k} {v:g}' for k, v in settings.items())}")
    write(cfg, merge(kept(cfg), layer | more))


def kept(cfg) -> dict:
    """Return what an earlier search found, if this one searches some methods only; else {}."""
    file = tuned_file(cfg.source)
    return read(file) if cfg.tune.only and file.is_file() else {}


def write(cfg, layer: dict) -> None:
    """Write the layer, and say how to make it the default."""
    out, target = cfg.layout.tuned, os.path.relpath(tuned_file(cfg.source))
    text = HEAD.format(testbed=cfg.source, study=cfg.study, target=target)
    with atomic(out) as part:
        part.write_text(text + yaml.safe_dump(layer, sort_keys=False), encoding="utf-8")
    say("tune", f"{out}; to make it the default: cp {out} {target}")


def of_trials(cfg, results: Results) -> tuple[dict, dict]:
    """Return ({method: settings of its best trial}, the layer's other sections)."""
    table = analysis.trials(results)
    top = analysis.picked(table)
    picked = {method: analysis.settings(row) for method, row in top.iterrows()}
    candidates = {
        method: [
            analysis.settings(row)
            for row in analysis.best(table, method, cfg.tune.best).itertuples()
        ]
        for method in top.index
    }
    known = provenance(cfg, results.meta, table, top, picked)
    return picked, {"finals": {"candidates": candidates}, "provenance": known}


def provenance(cfg, meta: Meta, table, top, picked: dict) -> dict:
    """Return where the settings come from, and what finding them cost."""
    where = {"commit": meta.commit, "machine": meta.machine}
    head = {
        "spaces": {m: {k: list(v) for k, v in cfg.tune.spaces[m].items()} for m in top.index},
        "epochs": {m: list(read) for m, read in cfg.tune.epochs.items() if m in top.index},
    }
    if not cfg.tune.only:
        head |= {"rule": analysis.RULE, "testbed": cfg.testbed, "seed": cfg.tune.seed} | where
    rows = {method: table[table.method == method] for method in top.index}
    found = {
        method: {
            "trials": len(mine),
            "failed": int(mine.gold.isna().sum()),
            "picked": top.arm[method],
            "settings": picked[method],
            "gains": [None if isnan(g) else round(float(g), 4) for g in mine.gain],
            "gold": round(float(top.gold[method]), 4),
            **cost(mine),
            **(where if cfg.tune.only else {}),
        }
        for method, mine in rows.items()
    }
    return head | {"methods": found}


def of_finals(cfg, results: Results) -> tuple[dict, dict]:
    """Return ({method: settings of its best candidate}, the layer's other sections)."""
    top, runs = finals.picked(results), finals.runs(results)
    picked = {method: row.sets for method, row in top.iterrows()}
    known = dict(cfg.provenance)
    known["rule"] = f"{analysis.RULE}; of the best, the {finals.RULE}"
    earlier = known.get("confirmed", {}) if cfg.tune.only else {}
    head = {"seeds": list(cfg.finals.seeds), "decay": cfg.finals.decay}
    head |= {"commit": results.meta.commit}
    found = {
        method: {"picked": row.arm, "gain": round(float(row.gain), 4)}
        | cost(runs[runs.method == method])
        | ({"commit": results.meta.commit} if cfg.tune.only else {})
        for method, row in top.iterrows()
    }
    known["confirmed"] = head | earlier | {"methods": earlier.get("methods", {}) | found}
    known["methods"] = {
        method: own | ({"settings": picked[method]} if method in picked else {})
        for method, own in known.get("methods", {}).items()
    }
    candidates = {"candidates": cfg.finals.candidates}
    return picked, {"finals": candidates, "provenance": known}


def cost(rows) -> dict[str, float]:
    """Return what runs were charged in all."""
    return {
        "flops": float(f"{rows.flops.sum():.4g}"),
        "cpu_s": round(float(rows.cpu_s.sum()), 1),
        "wall_s": round(float(rows.wall_s.sum()), 1),
    }
