# Rules from texts to evaluated runs. bench/core/layout.py defines the paths.

from bench.core.layout import BASE_EVALUATION
from bench.core.names import DEMONSTRATIONS, ON_POLICY, OWN_POOLS, POOL, REFERRED

RUN, EVALUATION = MADE.run(None, "{seed}"), MADE.evaluation(None, "{seed}")


rule estimate:
    log:
        LAYOUT.log("estimate"),
    params:
        run=Command("estimate", *ESTIMATED),
    shell:
        SHELL


rule rehearse:
    log:
        LAYOUT.log("rehearse"),
    threads: max(CFG.threads.base, CFG.threads.sft, CFG.threads.default)
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("align"),
    params:
        run=Command("rehearse", model=True),
    shell:
        SHELL


rule prefetch:
    output:
        LAYOUT.prefetched,
    log:
        LAYOUT.log("prefetch"),
    params:
        code=code("prefetch"),
        run=Command("prefetch"),
    shell:
        SHELL


rule data:
    output:
        MADE.manifest,
    log:
        MADE.log("data{key}"),
    params:
        code=code("data", of="data"),
        run=command("data", of="data", model=False),
    shell:
        SHELL


rule base:
    input:
        at("base", lambda layout, _: layout.manifest),
    output:
        directory(MADE.base),
    log:
        MADE.log("base{key}"),
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
        directory(MADE.sft),
    log:
        MADE.log("sft{key}"),
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
        at("pairs", lambda layout, _: layout.manifest, lambda layout, _: layout.writer),
    output:
        MADE.pool(POOL),
        MADE.pool_record(POOL),
    log:
        MADE.log("pool{key}"),
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
            lambda layout, wildcards: {
                DEMONSTRATIONS: layout.base,
                ON_POLICY: layout.sft,
            }.get(wildcards.pool, layout.manifest),
        ),
    output:
        MADE.pool("{pool}"),
        MADE.pool_record("{pool}"),
    log:
        MADE.log("{pool}{key}"),
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
        MADE.pairs("{label_set}", "{seed}"),
        MADE.validation("{label_set}", "{seed}"),
    log:
        MADE.log("pairs{key}-{label_set}-seed{seed}"),
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
        directory(MADE.reward("{label_set}", "{seed}")),
    log:
        MADE.log("reward-{label_set}{key}-seed{seed}"),
    priority: 20  # the longest chains of jobs wait for it
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
        MADE.reference("{pool}"),
        MADE.reference("{pool}").with_name("step.json"),
    log:
        MADE.log("reference-{pool}{key}"),
    wildcard_constraints:
        pool="|".join(REFERRED),
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


rule pick:
    input:
        tried,
    output:
        MADE.pick(None),
    log:
        MADE.log("pick-{arm}{key}"),
    params:
        code=code("pick"),
        run=command("pick", "--arm", "{wildcards.arm}", model=False),
    shell:
        SHELL


rule align:
    input:
        run_inputs,
    output:
        RUN.record,
        RUN.log,
        RUN.curve,
        RUN.samples,
        directory(RUN.model),
    log:
        MADE.log("align-{arm}{key}-seed{seed}"),
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
        EVALUATION.record,
        EVALUATION.prompts,
        EVALUATION.tasks,
        EVALUATION.items,
        EVALUATION.samples,
    log:
        MADE.log("evaluate-{arm}{key}-seed{seed}"),
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
