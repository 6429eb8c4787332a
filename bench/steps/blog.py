"""Write the draft of a post about a study: the report's sentences, figures and tables.

    python -m bench blog --testbed micro [--set key=value ...]

Writes blog/{post.md,references.bib,figures/} below the study's folder and, last, blog.json with the
sha256 of each file. A copy is published under the same condition as the report. What comes from the
results stands between marks; `python -m bench quote` renews them in your own copy.
"""

import shutil
from pathlib import Path

from bench.core.files import atomic, read_json, write_json
from bench.core.layout import Layout
from bench.core.progress import say
from bench.core.schema import UserError
from bench.report import marked_text, post
from bench.report.study import Study
from bench.steps import report as report
from bench.steps.quote import read
from bench.studies import kind_of


def run(cfg, args) -> None:
    """Write the draft with its figures, and its published copy."""
    layout, study = cfg.layout, Study.read(cfg.layout.results)
    name = study.meta.study
    drafted = kind_of(name).post
    if drafted is None:
        raise UserError(
            f"study '{name}' has no post: use `compare`, `claims` or a study that you declared"
        )
    out = layout.blog
    refuse_to_overwrite(out)
    facts, figures = (
        read_json(layout.report / f"{name}.json", needed=True) for name in ("facts", "figures")
    )
    text = drafted(study, facts, figures, layout.report)
    with atomic(out) as part:
        write(part, text, study.meta.commit, layout)
    reason, target = report.unfit(study.meta, out), report.published(study.meta) / "blog"
    if not reason:
        report.publish(out, target)
    write_json(layout.blog_record, report.hashes(out))
    where = f"not published: {reason}" if reason else f"published in {target}"
    say("blog", f"{out / 'post.md'}; {where}")


def write(out: Path, text: str, commit: str, layout: Layout) -> None:
    """Write the post, its references and its figures into a folder."""
    (out / "figures").mkdir(parents=True)
    (out / "post.md").write_text(text, encoding="utf-8", newline="\n")
    cited = post.bibliography(text, commit)
    (out / "references.bib").write_text(cited, encoding="utf-8", newline="\n")
    for name in marked_text.figures(text):
        shutil.copyfile(layout.report / name, out / name)


def refuse_to_overwrite(out: Path) -> None:
    """Raise UserError if someone has edited the draft or added files to its folder."""
    path = out / "post.md"
    if path.exists() and post.edited(read(path)):
        raise UserError(
            f"{path} was edited: move it elsewhere, then renew it with `python -m bench quote`"
        )
    drawn = marked_text.figures(read(path)) if path.exists() else []
    own = {path, out / "references.bib", *(out / name for name in ("figures", *drawn))}
    if other := sorted(found for found in out.rglob("*") if found not in own):
        raise UserError(f"{other[0]} does not belong to the draft: move it elsewhere")
