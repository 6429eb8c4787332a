# From a study's runs to its report.

import json
import re


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


FIGURES = Figures()


rule contract:
    input:
        results_of_study(),
    output:
        LAYOUT.contract,
    log:
        LAYOUT.study_log("contract"),
    params:
        code=code("contract"),
        run=Command("contract"),
    shell:
        SHELL


rule collect:
    input:
        rules.contract.output,
        results_of_study(),
    output:
        LAYOUT.results / "meta.json",
    log:
        LAYOUT.study_log("collect"),
    params:
        code=code("collect"),
        run=Command("collect"),
    shell:
        SHELL


rule tune:
    input:
        rules.collect.output,
    output:
        LAYOUT.tuned,
    log:
        LAYOUT.study_log("tune"),
    params:
        code=code("tune"),
        run=Command("tune"),
    shell:
        SHELL


rule report:
    input:
        rules.collect.output,
        [path.as_posix() for folder in CFG.companions for path in sorted(folder.glob("[!.]*"))],
    output:
        LAYOUT.report_record,
        LAYOUT.report / "figures.json",
        report(LAYOUT.report / "index.html", category="Report", labels={"file": "the page"}),
        report(
            LAYOUT.report / "results.csv",
            category="Report",
            labels={"file": "its table of measures"},
        ),
        report(
            directory(LAYOUT.report / "figures"),
            patterns=["{figure}.svg"],
            category=lambda wildcards: FIGURES[wildcards.figure]["category"],
            labels=lambda wildcards: {"figure": FIGURES[wildcards.figure]["title"]},
            caption="../report/snakemake/figure.rst",
        ),
    log:
        LAYOUT.study_log("report"),
    params:
        figures=FIGURES,
        code=code("report"),
        run=Command("report"),
    shell:
        SHELL


rule blog:
    input:
        rules.report.output,
    output:
        LAYOUT.blog_record,
    log:
        LAYOUT.study_log("blog"),
    params:
        code=code("blog"),
        run=Command("blog"),
    shell:
        SHELL
