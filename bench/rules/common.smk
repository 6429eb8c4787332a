# Functions that the rules share: their commands, code hashes, resources and inputs.

import json
import re
import shlex
import sys

from bench.core.layout import BASE_EVALUATION
from bench.core.names import POOL, SFT, pool_of
from bench.steps.fingerprint import fingerprint

SHELL = "{params.run} 2>&1 | tee {log:q}"
# The settings that the study's artefacts are made with: the study's, as "", and those of each arm
# that has a base, pairs or a reward model of its own.
VARIANTS = {"": CFG} | {arm: own for arm in CFG.study_arms if (own := CFG.of(arm)) is not CFG}
VARIANTS |= {w: CFG.of(w) for own in VARIANTS.values() if (w := own.pairs.writer)}


def arm_of(kind, wildcards):
    """Return the arm whose settings make the artefact; '' if the study's own settings do."""
    if (arm := getattr(wildcards, "arm", SFT)) != SFT:
        return arm
    found = [name for name, c in VARIANTS.items() if c.layout.key(kind) == wildcards.key]
    if not found:
        raise ValueError(f"no run of this study needs {kind}{wildcards.key}: check the overrides")
    return found[0]


def settings(kind, wildcards):
    """Return the settings that make the artefact with the wildcards' key."""
    return VARIANTS.get(arm_of(kind, wildcards), CFG)


def at(kind, *places):
    """Make an input function; places: functions that return a path, given layout and wildcards."""

    def found(wildcards):
        layout = settings(kind, wildcards).layout
        return [place(layout, wildcards).as_posix() for place in places]

    return found


def member(wildcards):
    """Return the run that the wildcards name; raises ValueError if the study has another."""
    found = CFG.member(wildcards.arm, wildcards.seed)
    names = found.layout.run_name(found.arm), found.layout.evaluation_name(found.arm)
    if f"{wildcards.arm}{wildcards.key}" not in names:
        raise ValueError(
            f"with these settings the arm is {names[0]}, not {wildcards.arm}{wildcards.key}: "
            "check the overrides"
        )
    return found


def launcher():
    """Return the words of the command that start a step as several processes."""
    how = ["--processes", str(CFG.launch.processes), "--config", CFG.launch.config]
    cpu = ["--cpu"] if CFG.model.device == "cpu" else []
    return ["launch", *how, *cpu, "--"]


class Command:
    """A step's command line, which Snakemake does not compare when it looks for changed `params:`.

    It ignores objects of unknown classes. So another virtual environment, or an override that the
    step does not read, does not rerun the step: only `code` decides.
    """

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
    """Make a function for `params:` that returns a step's command, with {wildcards} filled in.

    of: the kind of artefact that it makes, if arms may have their own; model: it runs a model.
    """

    def found(wildcards):
        filled = [word.format(wildcards=wildcards) for word in words]
        arm = arm_of(of, wildcards) if of else ""
        named = not arm or arm == getattr(wildcards, "arm", None)  # --arm already names it
        return Command(*filled, *([] if named else ["--of", arm]), model=model)

    return found


HASHES = {}  # computed once for all seeds of an arm


def code(step, of=None):
    """Make a function for `params:` that hashes all that a step's result depends on."""

    def found(wildcards):
        arm = getattr(wildcards, "arm", None)
        own = CFG.of(arm) if arm in CFG.known_arms else settings(of, wildcards) if of else CFG
        key = id(own), step, arm
        if key not in HASHES:
            HASHES[key] = fingerprint(own, step, arm)
        return HASHES[key]

    return found


def memory(wildcards, attempt):
    """Return the MB of a job that runs a model, for `resources:`; more after a failure."""
    return CFG.jobs.mem_mb * attempt


def training_memory(wildcards, attempt):
    """Return the MB of a training, each of whose processes holds a model."""
    return memory(wildcards, attempt) * CFG.launch.processes


def minutes(step):
    """Make a function for `resources:`: the time limit on a cluster, higher after a failure."""
    limit = getattr(CFG.jobs.minutes, step) or CFG.jobs.minutes.default
    return lambda wildcards, attempt: limit * attempt


# --- inputs


def pool_file(layout, wildcards):
    """Return the pool that a seed's pairs are drawn from."""
    return layout.pool(pool_of(wildcards.label_set))


def run_inputs(wildcards):
    """List what a run trains from: its starting weights, its pairs, what its method needs, and the
    pick among its candidates."""
    found = member(wildcards)
    paths = [*found.needed.values()]
    paths += [found.layout.pick(found.arm)] if found.arm.is_picked else []
    return list(dict.fromkeys(path.as_posix() for path in paths))


def tried(wildcards):
    """List the records and the curves of the runs that try the candidates of an arm."""
    own = [CFG.member(arm, s) for arm in CFG.tries(wildcards.arm).values() for s in CFG.pick_seeds]
    return [path.as_posix() for m in own for path in (m.files.record, m.files.curve)]


def evaluated(wildcards):
    """List what an evaluation reads: a run and its reward model, or an SFT base; and the pool.

    The rule that makes the pool also writes documents of lm-eval.
    """
    if wildcards.arm == SFT:
        layout = settings(BASE_EVALUATION, wildcards).layout
        return [layout.sft.as_posix(), layout.pool(POOL).as_posix()]
    found = member(wildcards)
    pool = found.layout.pool(POOL)
    paths = [found.files.record, found.files.model, pool, *([found.proxy] if found.proxy else [])]
    return [path.as_posix() for path in paths]


def results_of_study():
    """List the records of the study's runs and, unless curves suffice for it, of evaluations."""
    runs = [member.files.record.as_posix() for member in CFG.members]
    bases = [layout.evaluation(None).record.as_posix() for layout in CFG.sft_bases.values()]
    evals = [member.evaluation.record.as_posix() for member in CFG.members]
    return [*runs, *bases, *evals] if CFG.evaluated else runs


class Figures:
    """Looks up a figure's title, category and caption by its name, for Snakemake's own report.

    They are read late, from the file that the report step writes: which figures a study has is not
    known before.
    """

    def __getitem__(self, name):
        return json.loads((LAYOUT.report / "figures.json").read_text())[name]

    def __str__(self):
        return "figures.json"

    def caption(self, name):
        """Return the caption as reStructuredText, with all markup escaped."""
        return re.sub(r"([^\w\s]|_)", r"\\\1", self[name]["caption"])
