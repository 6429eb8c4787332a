# From texts to evaluated runs. Where everything lies: bench/core/layout.py.

from bench.core.layout import BASE_EVALUATION
from bench.core.names import DEMONSTRATIONS, ON_POLICY, OWN_POOLS, POOL, SFT, pool_of


def pool_file(layout, wildcards):
    """What a seed's pairs are drawn from."""
    return layout.pool(pool_of(wildcards.label_set))


def run_inputs(wildcards):
    """What a run trains from: its start, its pairs, and what its method needs."""
    return list(dict.fromkeys(path.as_posix() for path in member(wildcards).needed.values()))


def evaluated(wildcards):
    """A run and the reward model that scores it, or an SFT base; and the documents of lm-eval."""
    if wildcards.arm == SFT:
        layout = settings(BASE_EVALUATION, wildcards).layout
        return [layout.sft.as_posix(), layout.pool(POOL).as_posix()]
    found = member(wildcards)
    pool = found.layout.pool(POOL)
    return [p.as_posix() for p in (found.files.record, found.files.model, found.proxy, pool)]


rule estimate:
    log:
        f"{RUNS}/logs/estimate.log",
    params:
        run=Command("estimate", *ESTIMATED),
    shell:
        SHELL


rule prefetch:
    output:
        f"{RUNS}/prefetch.json",
    log:
        f"{RUNS}/logs/prefetch.log",
    params:
        code=code("prefetch"),
        run=Command("prefetch"),
    shell:
        SHELL


rule data:
    output:
        f"{RUNS}/data{{key}}/manifest.json",
    log:
        f"{RUNS}/logs/data{{key}}.log",
    params:
        code=code("data", of="data"),
        run=command("data", of="data", model=False),
    shell:
        SHELL


rule base:
    input:
        at("base", lambda layout, _: layout.manifest),
    output:
        directory(f"{RUNS}/base{{key}}"),
    log:
        f"{RUNS}/logs/base{{key}}.log",
    threads: CFG.threads.base
    resources:
        gpu=GPU if CFG.base.steps else 0,
        mem_mb=memory,
        runtime=minutes("base"),
    params:
        code=code("base", of="base"),
        run=command("base", of="base", model=CFG.base.steps > 0),
    shell:
        SHELL


rule sft:
    input:
        at("sft", lambda layout, _: layout.manifest, lambda layout, _: layout.base),
    output:
        directory(f"{RUNS}/sft{{key}}"),
    log:
        f"{RUNS}/logs/sft{{key}}.log",
    threads: CFG.threads.sft * CFG.launch.processes
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=minutes("sft"),
    params:
        code=code("sft", of="sft"),
        run=command("sft", of="sft"),
    shell:
        SHELL


rule pool:
    input:
        at("pairs", lambda layout, _: layout.manifest, lambda layout, _: layout.sft),
    output:
        f"{RUNS}/pairs{{key}}/{POOL}.jsonl",
        f"{RUNS}/pairs{{key}}/step.json",
    log:
        f"{RUNS}/logs/pool{{key}}.log",
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("pool"),
    params:
        code=code("pairs", of="pairs"),
        run=command("pairs", POOL, of="pairs"),
    shell:
        SHELL


rule own_pool:
    input:
        at(
            "pairs",
            lambda layout, _: layout.manifest,
            lambda layout, wildcards: (
                layout.base if wildcards.pool == DEMONSTRATIONS else layout.sft
            ),
        ),
    output:
        f"{RUNS}/pairs{{key}}/{{pool}}.jsonl",
        f"{RUNS}/pairs{{key}}/{{pool}}.json",
    log:
        f"{RUNS}/logs/{{pool}}{{key}}.log",
    wildcard_constraints:
        pool="|".join(OWN_POOLS),
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("pool"),
    params:
        code=code("pairs", of="pairs"),
        run=command("pairs", "{wildcards.pool}", of="pairs"),
    shell:
        SHELL


rule pairs:
    input:
        at("pairs", pool_file),
    output:
        f"{RUNS}/pairs{{key}}/{{label_set}}/seed{{seed}}.jsonl",
        f"{RUNS}/pairs{{key}}/{{label_set}}/validation{{seed}}.jsonl",
    log:
        f"{RUNS}/logs/pairs{{key}}-{{label_set}}-seed{{seed}}.log",
    params:
        code=code("pairs", of="pairs"),
        run=command(
            "pairs",
            "draw",
            "--label-set",
            "{wildcards.label_set}",
            "--seed",
            "{wildcards.seed}",
            of="pairs",
            model=False,
        ),
    shell:
        SHELL


rule reward:
    input:
        at(
            "reward",
            lambda layout, _: layout.sft,
            lambda layout, wildcards: layout.pairs(wildcards.label_set, wildcards.seed),
            pool_file,
        ),
    output:
        directory(f"{RUNS}/reward/{{label_set}}{{key}}/seed{{seed}}"),
    log:
        f"{RUNS}/logs/reward-{{label_set}}{{key}}-seed{{seed}}.log",
    priority: 20  # the longest chains hang on it
    threads: CFG.launch.processes
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=minutes("reward"),
    params:
        code=code("reward", of="reward"),
        run=command(
            "reward",
            "--label-set",
            "{wildcards.label_set}",
            "--seed",
            "{wildcards.seed}",
            of="reward",
        ),
    shell:
        SHELL


rule reference:
    input:
        at(
            "reference",
            lambda layout, _: layout.sft,
            lambda layout, wildcards: layout.pool(wildcards.pool),
        ),
    output:
        f"{RUNS}/reference/{{pool}}{{key}}/logps.csv",
        f"{RUNS}/reference/{{pool}}{{key}}/step.json",
    log:
        f"{RUNS}/logs/reference-{{pool}}{{key}}.log",
    wildcard_constraints:
        pool=f"{POOL}|{ON_POLICY}",
    priority: 20
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("reference"),
    params:
        code=code("reference", of="reference"),
        run=command("reference", "--pool", "{wildcards.pool}", of="reference"),
    shell:
        SHELL


rule align:
    input:
        run_inputs,
    output:
        f"{RUNS}/align/{{arm}}{{key}}/seed{{seed}}/run.json",
        f"{RUNS}/align/{{arm}}{{key}}/seed{{seed}}/log.csv",
        f"{RUNS}/align/{{arm}}{{key}}/seed{{seed}}/curve.csv",
        f"{RUNS}/align/{{arm}}{{key}}/seed{{seed}}/samples.jsonl",
        directory(f"{RUNS}/align/{{arm}}{{key}}/seed{{seed}}/model"),
    log:
        f"{RUNS}/logs/align-{{arm}}{{key}}-seed{{seed}}.log",
    priority: 10
    threads: CFG.launch.processes
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=minutes("align"),
    params:
        code=code("align"),
        run=command("align", "--arm", "{wildcards.arm}", "--seed", "{wildcards.seed}"),
    shell:
        SHELL


rule evaluate:
    input:
        evaluated,
    output:
        multiext(
            f"{RUNS}/evaluate/{{arm}}{{key}}/seed{{seed}}/",
            "eval.json",
            "prompts.csv",
            "tasks.csv",
            "samples.jsonl",
        ),
    log:
        f"{RUNS}/logs/evaluate-{{arm}}{{key}}-seed{{seed}}.log",
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("evaluate"),
    params:
        code=code("evaluate"),
        run=command(
            "evaluate",
            "--arm",
            "{wildcards.arm}",
            "--seed",
            "{wildcards.seed}",
            of=BASE_EVALUATION,
        ),
    shell:
        SHELL
