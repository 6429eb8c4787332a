"""`bench quote` renews the changed facts and their figures alone, or says what is stale."""

import json
import re
import shutil

import fake_runs
import pandas as pd
import pytest

from bench.__main__ import main
from bench.core.files import read_json
from bench.report import marked_text
from bench.report.study import Study
from bench.report.words import said
from bench.steps import report as report
from bench.studies.compare import post as posts

FAIL = {("ipo", 2): "diverged"}


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A folder with the report, and the post about it with its figures beside it."""
    root = tmp_path_factory.mktemp("reported")
    study = fake_runs.study(root / "runs", fail=FAIL, text=fake_runs.HOSTILE)
    report.build(study, root / "report")
    facts, figures = (read_json(root / f"report/{name}.json") for name in ("facts", "figures"))
    text = posts.draft(study, facts, figures, root / "report")
    (root / "post.md").write_text(text, encoding="utf-8", newline="\n")
    (root / "figures").mkdir()
    for name in marked_text.figures(text):
        shutil.copyfile(root / "report" / name, root / name)
    return root


@pytest.fixture
def here(reported, tmp_path, monkeypatch):
    """A working directory with a copy of the post, its figures and the report."""
    shutil.copytree(reported, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def study(reported):
    tables = fake_runs.gathered(reported / "runs/runs/micro", fake_runs.ARMS, (1, 2, 3, 4, 5))
    return Study(results_of(*tables))


@pytest.fixture(scope="module")
def later(reported, tmp_path_factory):
    """The same study after one DPO run was trained again, with another result."""
    root = tmp_path_factory.mktemp("later") / "runs"
    shutil.copytree(reported / "runs/runs/micro", root)
    path = root / "evaluate/dpo/seed1/prompts.csv"
    table = pd.read_csv(path)
    table.assign(gold=table.gold - 3).to_csv(path, index=False)
    return Study(results_of(*fake_runs.gathered(root, fake_runs.ARMS, (1, 2, 3, 4, 5))))


def results_of(tables, samples, facts):
    """Results of what was gathered."""
    from bench.analysis.results import Results

    return Results.of(tables, samples, fake_runs.meta(facts))


def facts_of(study, folder) -> dict[str, str]:
    """The facts of a study's report, made in a folder."""
    report.build(study, folder)
    return read_json(folder / "facts.json", needed=True)


def found_in(text: str) -> dict[str, str]:
    """{key: text} of the facts of a text."""
    return {m[1]: m[3] for m in marked_text.MARK.finditer(text)}


def call(*words) -> None:
    main(["quote", *map(str, words)])


def refused(capsys, *words) -> str:
    """What the command says when it fails: one line after those of the changes."""
    with pytest.raises(SystemExit) as ended:
        call(*words)
    assert ended.value.code == 1
    return capsys.readouterr().err.strip()


# --- texts


def test_a_renewal_changes_what_changed_and_keeps_the_rest_byte_for_byte(
    here, study, later, tmp_path
):
    facts = facts_of(later, tmp_path / "later")
    post = (here / "post.md").read_text(encoding="utf-8")
    for arm in ("dpo", "ppo"):
        gain = said(study.interval(arm, "gold_delta"))
        post += f"It gains {marked_text.mark(f'{arm}.gold_delta', gain)}.\n"
    mine = post.replace("## Cost", "My own words,\t1 % of them.  \r\n\r\n## Cost")
    text, changes = marked_text.renew(mine, facts)
    assert marked_text.MARK.split(mine)[::4] == marked_text.MARK.split(text)[::4]
    keys = {change.key for change in changes}
    assert {"dpo.gold_delta", "quality", "table.comparisons-of-gold-reward"} <= keys
    assert not {"ppo.gold_delta", "charged", "table.cost-by-phase", "request.prompt"} & keys
    assert not [change for change in changes if change.stale]
    moved = {k for k, old in found_in(mine).items() if found_in(text)[k] != old}
    assert moved == keys
    line = next(str(change) for change in changes if change.key == "dpo.gold_delta")
    old, new = (said(s.interval("dpo", "gold_delta")) for s in (study, later))
    assert line == f"dpo.gold_delta: {old} -> {new}" and old != new


def test_what_cannot_be_renewed_is_flagged_until_it_is_mended(here):
    known = read_json(here / "report/facts.json")
    post = (here / "post.md").read_text(encoding="utf-8")
    edited = post.replace(f"-->{known['held']}<!--", "-->6<!--", 1)
    edited = edited.replace("<!--fact n ", "<!--fact gone.n ")
    text, changes = marked_text.renew(edited, known)
    assert {(c.key, c.stale) for c in changes} == {
        ("held", marked_text.EDITED),
        ("gone.n", marked_text.GONE),
    }
    assert text.count(" ⚠ stale") == 2
    assert f"-->6<!--/fact--><!--stale: {marked_text.EDITED}--> ⚠ stale<!--/stale-->" in text
    assert marked_text.renew(text, known) == (text, changes)
    mended = text.replace("-->6<!--", f"-->{known['held']}<!--")
    mended = mended.replace("<!--fact gone.n ", "<!--fact n ")
    assert marked_text.renew(mended, known) == (post, [])


def test_broken_lines_are_no_edit_and_a_lost_mark_is_said(here):
    known = read_json(here / "report/facts.json")
    post = (here / "post.md").read_text(encoding="utf-8")
    wrapped = post.replace(known["quality"], known["quality"].replace(" ", "\n", 1))
    assert wrapped != post and marked_text.renew(wrapped, known) == (wrapped, [])
    cut = post.replace("<!--/fact-->", "", 1)
    assert [c.stale for c in marked_text.renew(cut, known)[1]] == [marked_text.BROKEN]


def test_marks_in_a_block_of_code_stay_as_they_are():
    code = "```\n<!--fact gone-->x<!--/fact--> <!--fact half\n```\n"
    assert marked_text.renew(f"So:\n\n{code}", {}) == (f"So:\n\n{code}", [])
    (change,) = marked_text.renew(f"{code}\nSo <!--fact half", {})[1]
    assert (change.key, change.stale) == ("line 5", marked_text.BROKEN)


def test_a_table_is_renewed_as_a_table():
    old, new = (f"| a | b |\n| :-- | --: |\n| x | {n} |\n" for n in (1, 2))
    text = f"Before.\n\n{marked_text.mark('table.t', old)}\n\nAfter.\n"
    start = f"<!--fact table.t {marked_text.digest(old)}-->"
    assert text == f"Before.\n\n{start}\n\n{old}\n<!--/fact-->\n\nAfter.\n"
    assert marked_text.renew(text, {"table.t": old}) == (text, [])
    renewed, (change,) = marked_text.renew(text, {"table.t": new})
    assert renewed == f"Before.\n\n{marked_text.mark('table.t', new)}\n\nAfter.\n"
    assert not change.stale and "| x | 2 |" in change.new
    windows = text.replace("\n", "\r\n")
    assert marked_text.renew(windows, {"table.t": old}) == (windows, [])
    edited = text.replace("| x | 1 |", "| x | 3 |")
    assert marked_text.renew(edited, {"table.t": new})[1][0].stale == marked_text.EDITED


def test_a_mark_that_an_author_wrote_needs_no_hash():
    text, (change,) = marked_text.renew("So <!--fact n-->?<!--/fact-->.", {"n": "5"})
    assert text == f"So <!--fact n {marked_text.digest('5')}-->5<!--/fact-->."
    assert str(change) == "n: ? -> 5"


def test_a_line_that_begins_with_a_mark_and_has_more_is_named():
    lines = ["a", "<!--fact b-->x", "- <!--fact c-->x", "| <!--fact d-->x", "> <!--fact e-->x"]
    assert marked_text.at_start("\n".join([*lines, "<!--fact table.t-->", ""])) == [2, 3, 5]


# --- the command


def test_a_fresh_post_is_up_to_date(here, capsys):
    fresh = (here / "post.md").read_bytes()
    call("post.md", "--report", "report", "--check")
    call("post.md", "--report", "report")
    assert "0 changed, 0 stale, 0 drawn anew" in capsys.readouterr().err
    assert (here / "post.md").read_bytes() == fresh


def test_it_renews_facts_and_figures_and_a_check_writes_nothing(here, capsys):
    post, picture = here / "post.md", here / "figures/compute.png"
    fresh, drawn = post.read_bytes(), picture.read_bytes()
    known = found_in(fresh.decode())["held"]
    was = marked_text.mark("held", known)
    assert fresh.decode().count(was) == 1
    old = fresh.decode().replace(was, marked_text.mark("held", "9.99")).encode()
    post.write_bytes(old)
    picture.write_bytes(b"old")
    said_of = refused(capsys, post, "--report", "report", "--check")
    assert "1 changed, 0 stale, 1 drawn anew" in said_of.splitlines()[-1]
    assert post.read_bytes() == old and picture.read_bytes() == b"old"
    call(post, "--report", "report")
    said_of = capsys.readouterr().err
    assert f"held: 9.99 -> {known}" in said_of and "figures/compute.png: drawn anew" in said_of
    assert post.read_bytes() == fresh and picture.read_bytes() == drawn
    picture.write_bytes(b"old")
    assert "1 drawn anew" in refused(capsys, post, "--report", "report", "--check")


@pytest.mark.parametrize(
    "edit,why",
    [
        (lambda text: text.replace("<!--fact held", "<!--fact gone"), marked_text.GONE),
        (
            lambda text: re.sub(r"(<!--fact held \w+-->).*?(<)", r"\g<1>6\2", text),
            marked_text.EDITED,
        ),
    ],
    ids=["unknown", "edited"],
)
def test_a_stale_fact_is_flagged_and_makes_the_command_fail(here, capsys, edit, why):
    post = here / "post.md"
    before = edit(post.read_text(encoding="utf-8"))
    post.write_text(before, encoding="utf-8")
    assert "1 stale" in refused(capsys, post, "--report", "report", "--check")
    assert post.read_text(encoding="utf-8") == before
    assert f"STALE, {why}" in refused(capsys, post, "--report", "report")
    assert post.read_text(encoding="utf-8").count("⚠ stale") == 1


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A working directory in which two reports were published."""
    monkeypatch.chdir(tmp_path)
    for name, fact in (("micro", "PPO"), ("micro/views", "DPO")):
        path = tmp_path / "reports" / name / "facts.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"headline": fact}))
    return tmp_path


def test_a_file_may_quote_several_reports(published, capsys):
    text = "{} {}\n"
    marks = [marked_text.mark(f"{name}:headline", "?") for name in ("micro", "micro/views")]
    (published / "a.md").write_text(text.format(*marks))
    assert "2 changed" in refused(capsys, "a.md", "--check")
    call("a.md")
    marks = [
        marked_text.mark(f"{name}:headline", fact)
        for name, fact in (("micro", "PPO"), ("micro/views", "DPO"))
    ]
    assert (published / "a.md").read_text() == text.format(*marks)
    call("a.md", "--check")


def test_reports_by_name_and_the_one_of_the_command_line_are_told_apart(published):
    (published / "mine").mkdir()
    (published / "mine/facts.json").write_text(json.dumps({"headline": "IPO"}))
    marks = [marked_text.mark(key, "?") for key in ("micro:headline", "headline")]
    (published / "a.md").write_text("{} {}\n".format(*marks))
    call("a.md", "--report", "mine")
    assert [*found_in((published / "a.md").read_text()).values()] == ["PPO", "IPO"]


def test_a_fact_without_its_report_is_one_clear_error(published, capsys):
    before = "So " + marked_text.mark("headline", "?")
    (published / "a.md").write_text(before)
    said_of = refused(capsys, "a.md")
    assert said_of == "error: a fact without the name of its report: say --report FOLDER"
    assert (published / "a.md").read_text() == before


def test_every_file_is_looked_at_though_one_is_stale(published, capsys):
    for name, key in (("a.md", "micro:gone"), ("b.md", "micro:headline")):
        (published / name).write_text("So " + marked_text.mark(key, "?"))
    last = refused(capsys, "a.md", "b.md").splitlines()[-1]
    assert last.startswith("error: a.md is not up to date") and "b.md" not in last
    assert found_in((published / "b.md").read_text()) == {"micro:headline": "PPO"}


@pytest.mark.parametrize(
    "text,words",
    [
        (None, "error: a.md is missing"),
        (b"\xff", "error: a.md is not UTF-8"),
        (b"So <!--fact other:n-->?<!--/fact-->", "error: there is no reports/other/facts.json"),
    ],
)
def test_what_cannot_be_read_is_one_line(published, capsys, text, words):
    if text is not None:
        (published / "a.md").write_bytes(text)
    said_of = refused(capsys, "a.md")
    assert said_of.startswith(words) and "\n" not in said_of
