# Run the default study: snakemake --cores all
# Test the claims of popular articles: snakemake --cores all claims
# Use another testbed or setting: snakemake --cores all --config testbed=reviews 'dpo={lr: 2e-5}'
# Estimate time and memory first: snakemake --cores 1 estimate --config testbed=zephyr-7b gpu=h100
# Measure them on this device, two steps of each: snakemake --cores all rehearse --config testbed=...
#
# data -> base -> sft -> pairs -> reward | reference -> align -> evaluate      bench/rules/runs.smk
#      -> contract -> collect -> report (`study=tune` also writes tuned.yaml)  bench/rules/study.smk
#
# Each rule runs one command, `python -m bench <step>`. `params.code` reruns it if its code, the
# settings that it reads or the libraries change. A changed comment reruns nothing.

import sys
from itertools import pairwise
from pathlib import Path

from bench.core import disk, holders, warm
from bench.core.layout import KEY, Patterns
from bench.core.machine import gpus, memory_mb
from bench.core.scheduling import lighten
from bench.core.schema import UserError
from bench.estimate import storage
from bench.estimate.devices import named
from bench.evaluation.harness import check_names
from bench.settings.overrides import asked
from bench.studies import load

# Snakemake knows its targets only once it has read this file.
VALUED = ("--cores", "-c", "--jobs", "-j")  # options whose value, such as `all`, is no target
TYPED = {word for before, word in pairwise(sys.argv) if before not in VALUED}

# `snakemake claims` chooses the study of that name, for the jobs of a cluster too.
if "claims" in TYPED:
    if config.setdefault("study", "claims") != "claims":
        sys.exit(f"error: `claims` is a study: leave out study={config['study']}")
    started = workflow.config_settings
    started.config_args = [*(started.config_args or []), "study=claims"]

try:
    TESTBED, SET = asked(config)
    ESTIMATED = ["--gpu", named(str(config["gpu"]))] if "gpu" in config else []
    CFG = load(TESTBED, SET)
    for folder in (CFG.layout.root, Path(".snakemake")):
        disk.checked(folder)
    check_names(CFG.eval.tasks)
except UserError as error:
    sys.exit(f"error: {error}")

targets = {"claims", *(["tune"] if CFG.searches else [])}
for name in TYPED & {*CFG.known_studies} - targets:
    sys.exit(f"error: {name} is a study, no target: add study={name} to --config instead")

if CFG.foreign_code and workflow.is_main_process:
    files = ", ".join(CFG.foreign_code)
    print(f"runs code of {files}: use files that you trust", file=sys.stderr)

LAYOUT = CFG.layout  # paths of the study's own files
MADE = Patterns(CFG, None)  # paths with wildcards, for the outputs of rules

HERE = workflow.nodes is None  # jobs run on this machine, whose GPUs and memory limit them
FOUND = gpus() if HERE else 0
if HERE and workflow.is_main_process and holders.free():
    print("cleared what a Snakemake or a job that was killed left", file=sys.stderr)
GPU = min(FOUND, 1) if CFG.jobs.gpu is None else CFG.jobs.gpu
GPUS = GPU * CFG.launch.processes  # that a training holds
if CFG.jobs.per_gpu > 1 and not HERE:
    sys.exit("error: jobs.per_gpu shares GPUs of this machine, not of a cluster: leave it out")
if HERE:
    workflow.global_resources.setdefault("gpu", max(FOUND, 1) * CFG.jobs.per_gpu)
    workflow.global_resources.setdefault("mem_mb", memory_mb())


report: "bench/report/snakemake/workflow.rst"


wildcard_constraints:
    arm=r"[A-Za-z0-9._-]+",
    label_set=r"[A-Za-z0-9._-]+",
    seed=r"\d+",
    key=KEY,  # the hash in the name of an artefact whose settings differ from the testbed's file


# Not sent to a cluster: rules that take seconds, and rules that may need a network, which a node
# may not have (prefetch, data, and base if it downloads the model).
localrules:
    all,
    claims,
    estimate,
    prefetch,
    data,
    pairs,
    pick,
    contract,
    collect,
    tune,
    report,
    blog,


if not CFG.base.steps:

    localrules:
        base,


rule all:
    default_target: True
    input:
        LAYOUT.report_record,
        LAYOUT.tuned if CFG.searches else [],


rule claims:
    input:
        LAYOUT.report_record,


include: "bench/rules/common.smk"
include: "bench/rules/runs.smk"
include: "bench/rules/study.smk"


WARM = []  # the warm process, if there is one
BESIDE = {"estimate", "rehearse", "prefetch"}  # targets that begin no study


onstart:
    if workflow.is_main_process and not BESIDE & TYPED:
        try:
            storage.check(CFG, workflow.nodes or workflow.cores)
        except UserError as error:
            sys.exit(f"error: {error}")
    if workflow.is_main_process:
        holders.enter()
    if hasattr(CFG.plan, "begin") and workflow.is_main_process and not BESIDE & TYPED:
        CFG.plan.begin(CFG)
    if HERE:
        lighten(workflow.scheduler)
    if HERE and CFG.jobs.warm and workflow.is_main_process and sys.platform == "linux":
        WARM.append(warm.start(LAYOUT.overhead))


onerror:
    holders.leave()
    for process in filter(None, WARM):
        warm.stop(process)


onsuccess:
    holders.leave()
    for process in filter(None, WARM):
        warm.stop(process)
    if LAYOUT.report_record.exists():
        print(f"The report is {LAYOUT.report}/index.html")
