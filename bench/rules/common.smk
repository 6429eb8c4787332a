# What the rules share: their commands, hashes, resources, and where their inputs lie.

import json
import re
import shlex
import sys

from bench.core.layout import BASE_EVALUATION
from bench.core.names import POOL, SFT, pool_of
from bench.steps.fingerprint import fingerprint

SHELL = "{params.run} 2>&1 | tee {log:q}"
# The settings under which the study's artefacts are made: its own, and those of arms with a base,
# pairs or a reward model of their own.
VARIANTS = {"": CFG} | {arm: own for arm in CFG.study_arms if (own := CFG.of(arm)) is not CFG}


def arm_of(kind, wildcards):
    """The arm whose settings made the artefact that is asked for; '' where the study's own did."""
    if (arm := getattr(wildcards, "arm", SFT)) != SFT:
        return arm
    found = [name for name, c in VARIANTS.items() if c.layout.key(kind) == wildcards.key]
    if not found:
        raise ValueError(f"no run of this study needs {kind}{wildcards.key}")
    return found[0]


def settings(kind, wildcards):
    """The settings of the artefact that a rule is asked for, by its key."""
    return VARIANTS.get(arm_of(kind, wildcards), CFG)


def at(kind, *places):
    """An input function: each of ``places`` is a function of a layout and the wildcards."""

    def found(wildcards):
        layout = settings(kind, wildcards).layout
        return [place(layout, wildcards).as_posix() for place in places]

    return found


def member(wildcards):
    """The run of the study that is asked for."""
    found = CFG.member(wildcards.arm, wildcards.seed)
    names = found.layout.run_name(found.arm), found.layout.evaluation_name(found.arm)
    if f"{wildcards.arm}{wildcards.key}" not in names:
        raise ValueError(f"under these settings {wildcards.arm} is {names[0]}, not {wildcards.key}")
    return found


def launcher():
    """The words before the name of a step that is trained by several processes."""
    how = ["--processes", str(CFG.launch.processes), "--config", CFG.launch.config]
    cpu = ["--cpu"] if CFG.model.device == "cpu" else []
    return ["launch", *how, *cpu, "--"]


class Command:
    """A step's command line. Snakemake ignores objects of unknown classes when it compares
    `params:`, so neither another virtual environment nor an override that a step does not read
    reruns it: `code` decides alone."""

    def __init__(self, *words, model=False):
        options = [word for item in SET for word in ("--set", item)]
        options += ["--needs-gpu"] if model and CFG.jobs.gpu else []
        launched = words[0] in ("sft", "reward", "align") and CFG.launch.processes > 1
        head = [*launcher(), *words] if launched else words
        self.line = shlex.join(
            [sys.executable, "-m", "bench", *head, "--testbed", TESTBED, *options]
        )

    def __str__(self):
        return self.line


def command(*words, of=None, model=True):
    """For `params:`, the command of a step. {wildcards} in a word are filled in.

    of: the kind of artefact that it makes, where arms may have their own; model: it runs one.
    """

    def found(wildcards):
        filled = [word.format(wildcards=wildcards) for word in words]
        arm = arm_of(of, wildcards) if of else ""
        named = not arm or arm == getattr(wildcards, "arm", None)  # by --arm
        return Command(*filled, *([] if named else ["--of", arm]), model=model)

    return found


HASHES = {}  # seeds of an arm share theirs


def code(step, of=None):
    """For `params:`, the hash of all that a step's result depends on."""

    def found(wildcards):
        arm = getattr(wildcards, "arm", None)
        own = CFG.of(arm) if arm in CFG.known_arms else settings(of, wildcards) if of else CFG
        key = id(own), step, arm
        if key not in HASHES:
            HASHES[key] = fingerprint(own, step, arm)
        return HASHES[key]

    return found


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


# --- inputs


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


def results_of_study():
    """What the runs of the study leave; a study judged by curves alone is not evaluated."""
    runs = [member.files.record.as_posix() for member in CFG.members]
    bases = [layout.evaluation(None).record.as_posix() for layout in CFG.bases.values()]
    evals = [member.evaluation.record.as_posix() for member in CFG.members]
    return [*runs, *bases, *evals] if CFG.evaluated else runs


class Figures:
    """What the report step says of a figure by its name, for Snakemake's own report, which asks when
    the files are there: which figures a study has is not known before."""

    def __getitem__(self, name):
        return json.loads((LAYOUT.report / "figures.json").read_text())[name]

    def __str__(self):
        return "figures.json"

    def caption(self, name):
        """As reStructuredText in which nothing is markup."""
        return re.sub(r"([^\w\s]|_)", r"\\\1", self[name]["caption"])
