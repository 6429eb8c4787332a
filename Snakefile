# From nothing to a report: snakemake --cores all
# Another testbed or setting: snakemake --cores all --config testbed=reviews 'dpo={lr: 2e-5}'
# What it will take, beforehand: snakemake --cores 1 estimate --config testbed=zephyr-7b gpu=h100
#
# data -> base -> sft -> pairs -> reward | reference -> align -> evaluate
#      -> contract -> collect -> report (and tuned.yaml, by the study `tune`)
#
# Each rule is one command, `python -m bench.<step>`; `params.code` reruns it when its code, the
# settings that it reads or the libraries change, and never for a comment.

import json
import re
import shlex
import sys
from pathlib import Path

from bench.config import flatten, load
from bench.estimate.devices import named
from bench.fingerprint import fingerprint
from bench.machine import gpus, memory_mb
from bench.methods import METHODS
from bench.names import DEMONSTRATIONS, ON_POLICY, OWN_POOLS, POOL, pool_of
from bench.schema import UserError

try:
    TESTBED = str(config.get("testbed", "micro"))
    NO_SETTINGS = ("testbed", "gpu")
    ESTIMATED = ["--gpu", named(str(config["gpu"]))] if "gpu" in config else []
    SET = flatten({key: value for key, value in config.items() if key not in NO_SETTINGS})
    CFG = load(TESTBED, SET)
except UserError as error:
    sys.exit(f"error: {error}")

RUNS, STUDY = CFG.runs.as_posix(), CFG.study_dir.as_posix()
RUNS_OF_STUDY = [f"{arm}/seed{seed}" for arm, seed in CFG.study_runs]

HERE = workflow.nodes is None  # else a cluster's nodes run the jobs: this machine limits nothing
FOUND = gpus() if HERE else 0
GPU = min(FOUND, 1) if CFG.jobs.gpu is None else CFG.jobs.gpu
GPUS = GPU * CFG.launch.processes  # of a training
if HERE:
    workflow.global_resources.setdefault("gpu", max(FOUND, 1))
    workflow.global_resources.setdefault("mem_mb", memory_mb())


report: "bench/report/snakemake/workflow.rst"


# Seconds of work, or, where the base model is fetched, in need of a network: not sent to a cluster.
localrules:
    estimate,
    prefetch,
    data,
    pairs,
    contract,
    collect,
    tune,
    report,
    blog,


if not CFG.base.steps:

    localrules:
        base,


wildcard_constraints:
    arm=r"[A-Za-z0-9._-]+",
    labels=r"[A-Za-z0-9._-]+",
    seed=r"\d+",


def launcher():
    """The words before the name of a step that is trained by several processes."""
    how = ["--processes", str(CFG.launch.processes), "--config", CFG.launch.config]
    cpu = ["--cpu"] if CFG.model.device == "cpu" else []
    return ["bench.launch", *how, *cpu, "--"]


class Command:
    """A step's command line. Snakemake ignores objects of unknown classes when it compares
    `params:`, so neither another virtual environment nor an override that a step does not read
    reruns it: `code` decides alone."""

    def __init__(self, step, model=False):
        options = ["--testbed", TESTBED, *(word for item in SET for word in ("--set", item))]
        options += ["--needs-gpu"] if model and CFG.jobs.gpu else []
        name, *words = step.split()
        launched = name in ("sft", "reward", "align") and CFG.launch.processes > 1
        head = [*launcher(), name] if launched else [f"bench.{name}"]
        self.line = shlex.join([sys.executable, "-m", *head, *words, *options])

    def __str__(self):
        return self.line


class Figures:
    """What the report step says of a figure by its name, for Snakemake's own report, which asks when
    the files are there: which figures a study has is not known before."""

    def __getitem__(self, name):
        return json.loads(Path(STUDY, "report/figures.json").read_text())[name]

    def __str__(self):
        return "figures.json"

    def caption(self, name):
        """As reStructuredText in which nothing is markup."""
        return re.sub(r"([^\w\s]|_)", r"\\\1", self[name]["caption"])


FIGURES = Figures()


def code(step):
    """For `params:`, the hash of all that a step's result depends on."""
    return lambda wildcards: fingerprint(CFG, step, getattr(wildcards, "arm", None))


def memory(wildcards, attempt):
    """MB of a job that runs a model, for `resources:`; more after a failure."""
    return CFG.jobs.mem_mb * attempt


def training_memory(wildcards, attempt):
    """The same of a training, whose processes hold a model each."""
    return memory(wildcards, attempt) * CFG.launch.processes


def minutes(step):
    """For `resources:`, the time after which a cluster ends a job; more after a failure."""
    limit = getattr(CFG.jobs.minutes, step) or CFG.jobs.minutes.default
    return lambda wildcards, attempt: limit * attempt


def pool_file(wildcards):
    """What a seed's pairs are drawn from."""
    return f"{RUNS}/pairs/{pool_of(wildcards.labels)}.jsonl"


def run_inputs(wildcards):
    """What a run trains from: its start, its pairs, and what its method needs."""
    arm, seed = CFG.arm(wildcards.arm), wildcards.seed
    reward = f"{RUNS}/reward/{arm.data}/seed{seed}"
    needed = {"reward": reward, "reference": f"{RUNS}/reference/{pool_of(arm.data)}/logps.csv"}
    pairs = [f"{RUNS}/pairs/{arm.data}/{name}{seed}.jsonl" for name in ("seed", "heldout")]
    folders = dict.fromkeys([f"{RUNS}/sft", f"{RUNS}/{arm.start}"])
    return [*folders, *pairs, *(needed[need] for need in METHODS[arm.method].NEEDS)]


def evaluated(wildcards):
    """A run and the reward model that scores it, or the SFT base."""
    if wildcards.arm == "sft":
        return [f"{RUNS}/sft"]
    judge = f"{RUNS}/reward/{CFG.arm(wildcards.arm).judge}/seed{wildcards.seed}"
    folder = f"{RUNS}/align/{wildcards.arm}/seed{wildcards.seed}"
    return [f"{folder}/run.json", f"{folder}/model", judge]


def results_of_study():
    """What the runs of the study leave; a study judged by curves alone is not evaluated."""
    runs = expand(f"{RUNS}/align/{{run}}/run.json", run=RUNS_OF_STUDY)
    evals = expand(f"{RUNS}/evaluate/{{run}}/eval.json", run=["sft/seed0", *RUNS_OF_STUDY])
    return runs + evals if CFG.evaluated else runs


rule all:
    default_target: True
    input:
        f"{STUDY}/report.json",
        f"{RUNS}/tuned.yaml" if CFG.study == "tune" else [],


rule estimate:
    log:
        f"{RUNS}/logs/estimate.log",
    params:
        run=Command("estimate"),
        gpu=ESTIMATED,
    shell:
        "{params.run} {params.gpu:q} 2>&1 | tee {log:q}"


rule prefetch:
    output:
        f"{RUNS}/prefetch.json",
    log:
        f"{RUNS}/logs/prefetch.log",
    params:
        code=code("prefetch"),
        run=Command("prefetch"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule data:
    output:
        f"{RUNS}/data/manifest.json",
    log:
        f"{RUNS}/logs/data.log",
    params:
        code=code("data"),
        run=Command("data"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule base:
    input:
        rules.data.output,
    output:
        directory(f"{RUNS}/base"),
    log:
        f"{RUNS}/logs/base.log",
    threads: CFG.threads.base
    resources:
        gpu=GPU if CFG.base.steps else 0,
        mem_mb=memory,
        runtime=minutes("base"),
    params:
        code=code("base"),
        run=Command("base", model=CFG.base.steps > 0),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule sft:
    input:
        rules.data.output,
        rules.base.output,
    output:
        directory(f"{RUNS}/sft"),
    log:
        f"{RUNS}/logs/sft.log",
    threads: CFG.threads.sft * CFG.launch.processes
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=minutes("sft"),
    params:
        code=code("sft"),
        run=Command("sft", model=True),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule pool:
    input:
        rules.data.output,
        rules.sft.output,
    output:
        f"{RUNS}/pairs/pool.jsonl",
        f"{RUNS}/pairs/step.json",
    log:
        f"{RUNS}/logs/pool.log",
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("pool"),
    params:
        code=code("pairs"),
        run=Command("pairs pool", model=True),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule own_pool:
    input:
        rules.data.output,
        lambda wildcards: f"{RUNS}/{'base' if wildcards.pool == DEMONSTRATIONS else 'sft'}",
    output:
        f"{RUNS}/pairs/{{pool}}.jsonl",
        f"{RUNS}/pairs/{{pool}}.json",
    log:
        f"{RUNS}/logs/{{pool}}.log",
    wildcard_constraints:
        pool="|".join(OWN_POOLS),
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("pool"),
    params:
        code=code("pairs"),
        run=Command("pairs", model=True),
    shell:
        "{params.run} {wildcards.pool:q} 2>&1 | tee {log:q}"


rule pairs:
    input:
        pool_file,
    output:
        f"{RUNS}/pairs/{{labels}}/seed{{seed}}.jsonl",
        f"{RUNS}/pairs/{{labels}}/heldout{{seed}}.jsonl",
    log:
        f"{RUNS}/logs/pairs-{{labels}}-seed{{seed}}.log",
    params:
        code=code("pairs"),
        run=Command("pairs draw"),
    shell:
        "{params.run} --labels {wildcards.labels:q}" " --seed {wildcards.seed:q} 2>&1 | tee {log:q}"


rule reward:
    input:
        rules.sft.output,
        rules.pairs.output,
        pool_file,
    output:
        directory(f"{RUNS}/reward/{{labels}}/seed{{seed}}"),
    log:
        f"{RUNS}/logs/reward-{{labels}}-seed{{seed}}.log",
    priority: 20  # the longest chains hang on it
    threads: CFG.launch.processes
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=minutes("reward"),
    params:
        code=code("reward"),
        run=Command("reward", model=True),
    shell:
        "{params.run} --labels {wildcards.labels:q}" " --seed {wildcards.seed:q} 2>&1 | tee {log:q}"


rule reference:
    input:
        rules.sft.output,
        f"{RUNS}/pairs/{{pool}}.jsonl",
    output:
        f"{RUNS}/reference/{{pool}}/logps.csv",
        f"{RUNS}/reference/{{pool}}/step.json",
    log:
        f"{RUNS}/logs/reference-{{pool}}.log",
    wildcard_constraints:
        pool=f"{POOL}|{ON_POLICY}",
    priority: 20
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("reference"),
    params:
        code=code("reference"),
        run=Command("reference", model=True),
    shell:
        "{params.run} --pool {wildcards.pool:q} 2>&1 | tee {log:q}"


rule align:
    input:
        run_inputs,
    output:
        f"{RUNS}/align/{{arm}}/seed{{seed}}/run.json",
        f"{RUNS}/align/{{arm}}/seed{{seed}}/log.csv",
        f"{RUNS}/align/{{arm}}/seed{{seed}}/curve.csv",
        f"{RUNS}/align/{{arm}}/seed{{seed}}/samples.jsonl",
        directory(f"{RUNS}/align/{{arm}}/seed{{seed}}/model"),
    log:
        f"{RUNS}/logs/align-{{arm}}-seed{{seed}}.log",
    priority: 10
    threads: CFG.launch.processes
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=training_memory,
        runtime=minutes("align"),
    params:
        code=code("align"),
        run=Command("align", model=True),
    shell:
        "{params.run} --arm {wildcards.arm:q}" " --seed {wildcards.seed:q} 2>&1 | tee {log:q}"


rule evaluate:
    input:
        evaluated,
        f"{RUNS}/pairs/pool.jsonl",
    output:
        multiext(
            f"{RUNS}/evaluate/{{arm}}/seed{{seed}}/",
            "eval.json",
            "prompts.csv",
            "tasks.csv",
            "samples.jsonl",
        ),
    log:
        f"{RUNS}/logs/evaluate-{{arm}}-seed{{seed}}.log",
    resources:
        gpu=GPU,
        mem_mb=memory,
        runtime=minutes("evaluate"),
    params:
        code=code("evaluate"),
        run=Command("evaluate", model=True),
    shell:
        "{params.run} --arm {wildcards.arm:q}" " --seed {wildcards.seed:q} 2>&1 | tee {log:q}"


rule contract:
    input:
        results_of_study(),
    output:
        f"{STUDY}/contract.json",
    log:
        f"{STUDY}/logs/contract.log",
    params:
        code=code("contract"),
        run=Command("contract"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule collect:
    input:
        rules.contract.output,
        results_of_study(),
    output:
        f"{STUDY}/results/meta.json",
    log:
        f"{STUDY}/logs/collect.log",
    params:
        code=code("collect"),
        run=Command("collect"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule tune:
    input:
        rules.collect.output,
    output:
        f"{RUNS}/tuned.yaml",
    log:
        f"{STUDY}/logs/tune.log",
    params:
        code=code("tune"),
        run=Command("tune"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule report:
    input:
        rules.collect.output,
        [path.as_posix() for folder in CFG.companions for path in sorted(folder.glob("[!.]*"))],
    output:
        f"{STUDY}/report.json",
        f"{STUDY}/report/figures.json",
        report(f"{STUDY}/report/index.html", category="Report", labels={"file": "the page"}),
        report(
            f"{STUDY}/report/results.csv",
            category="Report",
            labels={"file": "its table of measures"},
        ),
        report(
            directory(f"{STUDY}/report/figures"),
            patterns=["{figure}-light.svg"],
            category=lambda wildcards: FIGURES[wildcards.figure]["category"],
            labels=lambda wildcards: {"figure": FIGURES[wildcards.figure]["title"]},
            caption="bench/report/snakemake/figure.rst",
        ),
    log:
        f"{STUDY}/logs/report.log",
    params:
        figures=FIGURES,
        code=code("report"),
        run=Command("report"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


rule blog:
    input:
        rules.report.output,
    output:
        f"{STUDY}/blog.json",
    log:
        f"{STUDY}/logs/blog.log",
    params:
        code=code("blog"),
        run=Command("blog"),
    shell:
        "{params.run} 2>&1 | tee {log:q}"


onsuccess:
    if Path(STUDY, "report.json").exists():
        print(f"The report is {STUDY}/report/index.html")
