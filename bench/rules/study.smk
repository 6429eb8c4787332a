# Rules from a study's runs to its report.

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
            patterns=[r"{figure,\w+}.svg"],
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
