"""Write a post about a comparison, or renew one's own copy of it.

    python -m bench blog --testbed micro [--set key=value ...]
    python -m bench blog --testbed micro --post my-post.md [--check]

The first writes blog/{post.md,references.bib,figures/} below the study's folder and, last,
blog.json with the sha256 of each file; a copy is published under the same condition as the report.
The second renews the facts in a post in place, and the figures beside it; all other text is kept
byte for byte. A fact that is gone, or that was edited by hand, is flagged, and the exit code is 1.
`--check` writes nothing; its exit code is 1 too where there is something to renew.
"""

import shutil
from pathlib import Path

from bench.core.files import atomic, write_json
from bench.core.layout import Layout
from bench.core.progress import say
from bench.core.schema import UserError
from bench.steps import report as report
from bench.studies.compare import blog_kit, facts, marked_text


def options(parser) -> None:
    parser.add_argument("--post", type=Path, metavar="FILE", help="renew the facts in this post")
    parser.add_argument("--check", action="store_true", help="report what is stale, write nothing")


def run(cfg, args) -> None:
    """The draft, or one post; raises UserError where a fact stays stale."""
    study = report.load(cfg)
    if study.meta["study"] in blog_kit.OTHERS:
        name = study.meta["study"]
        raise UserError(f"the blog kit is for comparisons of methods: study '{name}' is none")
    if args.post or args.check:
        post = args.post or cfg.layout.blog / "post.md"
        renew(study, post, cfg.layout.report, args.check)
    else:
        write(study, cfg.layout)


def write(study, layout: Layout) -> None:
    """The draft with its figures, and its published copy."""
    out = layout.blog
    refuse_to_overwrite(out)
    text = blog_kit.draft(study)
    with atomic(out) as part:
        (part / "figures").mkdir(parents=True)
        (part / "post.md").write_text(text, encoding="utf-8", newline="\n")
        cited = blog_kit.bibliography(text, study.meta["commit"])
        (part / "references.bib").write_text(cited, encoding="utf-8", newline="\n")
        for name in blog_kit.figures(text):
            shutil.copyfile(layout.report / name, part / name)
    reason, target = report.unfit(study.meta, out), report.published(study.meta) / "blog"
    if not reason:
        report.publish(out, target)
    write_json(layout.blog_record, report.hashes(out))
    where = f"not published: {reason}" if reason else f"published in {target}"
    say("blog", f"{out / 'post.md'}; {where}")


def refuse_to_overwrite(out: Path) -> None:
    """Raises UserError if somebody has worked in the folder of the draft."""
    post = out / "post.md"
    if post.exists() and blog_kit.edited(read(post)):
        raise UserError(f"{post} was edited: move it elsewhere, then renew it with --post")
    own = {post, out / "references.bib", *(out / name for name in ("figures", *drawn(post)))}
    if other := sorted(path for path in out.rglob("*") if path not in own):
        raise UserError(f"{other[0]} is not the draft's: move it elsewhere")


def drawn(post: Path) -> list[str]:
    """The figures of a post, if there is one."""
    return blog_kit.figures(read(post)) if post.exists() else []


def read(post: Path) -> str:
    """A post as it is, line ends included."""
    try:
        return post.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{post} is missing") from None
    except UnicodeDecodeError:
        raise UserError(f"{post} is not UTF-8") from None


def renew(study, post: Path, report_dir: Path, check: bool) -> None:
    """Renew the facts and figures of a post and say each change; UserError if any stays stale."""
    old = read(post)
    text, changes = marked_text.renew(old, facts.every(study))
    redrawn = [name for name in drawn(post) if differs(post.parent / name, report_dir / name)]
    for line in [*changes, *(f"{name}: drawn anew" for name in redrawn), *warnings(text)]:
        say("blog", str(line))
    if not check:
        put(post, text, old)
        for name in redrawn:
            shutil.copyfile(report_dir / name, post.parent / name)
    stale = [change for change in changes if change.stale]
    counts = f"{len(changes) - len(stale)} changed, {len(stale)} stale, {len(redrawn)} drawn anew"
    if text != old and not changes:
        counts += ", the same words from other runs"
    say("blog", f"{post}: {len(marked_text.MARK.findall(text))} facts, {counts}")
    if stale or (check and (redrawn or text != old)):
        raise UserError(f"{post} is not up to date: {counts}")


def differs(mine: Path, fresh: Path) -> bool:
    """Whether a figure beside a post is not the report's any more."""
    return mine.is_file() and fresh.is_file() and mine.read_bytes() != fresh.read_bytes()


def warnings(text: str) -> list[str]:
    """Lines that would be taken for HTML."""
    said = "begins with a mark, so Markdown takes the line for HTML: put a word before it"
    return [f"line {n} {said}" for n in marked_text.at_start(text)]


def put(post: Path, text: str, old: str) -> None:
    """Replace a post at once, with its permissions, if its text changed."""
    if text == old:
        return
    path = post.resolve()
    with atomic(path) as part:
        part.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, part)
