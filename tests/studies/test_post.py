"""The blog kit: facts equal the statistics, a refresh changes facts alone, any text is inert."""

import json
import re
import shutil
from types import SimpleNamespace

import fake_runs
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from bench.analysis import tables as study_tables
from bench.core.schema import UserError
from bench.report import style, verdict
from bench.report.study import Study
from bench.steps import blog as command
from bench.steps import report as report
from bench.studies.compare import blog_kit, facts, marked_text
from bench.studies.compare import page as compare_page

SWELLING = (
    r"\b(significant(ly)?|clear(ly)?|much|dramatic(ally)?|strong(ly)?|far|considerabl[ey]|hug(e|ely)|"
    r"substantial(ly)?|impressive(ly)?|superior|outperform\w*|remarkabl[ey]|vast(ly)?|winner)\b"
)


def study_of(folder, **more) -> Study:
    return Study(*fake_runs.collected(folder, **more))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five seeds of four methods, one run diverged, hostile samples."""
    folder = tmp_path_factory.mktemp("study")
    return study_of(folder, fail={("ipo", 2): "diverged"}, text=fake_runs.HOSTILE)


@pytest.fixture(scope="module")
def post(study):
    return blog_kit.draft(study)


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The same study after one DPO run was trained again, with another result."""
    folder = tmp_path_factory.mktemp("later")
    root = fake_runs.make(folder, fail={("ipo", 2): "diverged"}, text=fake_runs.HOSTILE)
    path = root / "align/dpo/seed1/run.json"
    path.write_text(path.read_text().replace('"dpo-1"', '"dpo-again"'))
    path = root / "evaluate/dpo/seed1/eval.json"
    path.write_text(path.read_text().replace('"dpo-1"', '"dpo-again"'))
    path = root / "evaluate/dpo/seed1/prompts.csv"
    table = pd.read_csv(path)
    table.assign(gold=table.gold - 3).to_csv(path, index=False)
    tables, samples, found = fake_runs.gathered(root, fake_runs.ARMS, (1, 2, 3, 4, 5))
    return Study(tables, samples, fake_runs.meta(found))


def found_in(text: str) -> dict[str, str]:
    """{key: text} of the facts of a post."""
    return {m[1]: m[4] for m in marked_text.MARK.finditer(text)}


def prose(text: str) -> str:
    """A post without facts, code, comments, references, headings and figures' paths."""
    text = marked_text.MARK.sub("", text.partition("## References")[0])
    text = re.sub(r"<!--.*?-->|`[^`\n]*`|\[@[^]]*\]|\]\(figures/[^)]*\)", "", text, flags=re.S)
    return text


def html(text: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(text)


def shown(text: str) -> str:
    """What a reader sees of rendered Markdown."""
    from html import unescape

    bare = re.sub(r"<!--.*?-->", "", html(text), flags=re.S)
    return unescape(re.sub(r"<[^>]*>", "", bare))


def test_facts_are_the_statistics(study, post):
    known = found_in(post)
    for arm in study.arms:
        found = study.interval(arm, "gold_delta")
        assert known[f"{arm}.gold_delta"] == verdict.said(found)
        kl = study.interval(arm, "kl")
        assert known[f"{arm}.kl"] == f"{kl.mean:.2f} ({kl.low:.2f} to {kl.high:.2f})"
    for row in study.versus.itertuples():
        key = f"{row.a}-{row.b}"
        assert known[f"{key}.verdict"] == verdict.in_words(row)
        assert known[f"{key}.difference"] == verdict.said(row.interval)
    assert known["headline"] == compare_page.headline(study)
    assert "IPO seed 2: diverged" in known["stability"]


def test_better_is_said_of_decided_comparisons_alone(study):
    said = facts.every(study)["between"].text
    beaten = {
        (winner, loser)
        for winner, rest in re.findall(r"(\w+) is better ([^.]*(?:\.\d[^.]*)*)\.", said)
        for loser in re.findall(r"than (\w+) by", rest)
    }
    rows = list(study.versus.itertuples())
    decided = {
        (style.label(w), style.label(r.b if w == r.a else r.a))
        for r in rows
        if (w := r.verdict.removesuffix(" better")) != r.verdict
    }
    assert beaten == decided and beaten
    for row in rows:
        if row.verdict == "inconclusive":
            pair = f"{style.label(row.a)} against {style.label(row.b)}"
            assert pair in said.split("Inconclusive:")[1]


def test_every_number_outside_code_and_references_is_a_fact(post):
    assert not re.findall(r".{0,30}\d.{0,30}", prose(post))


def test_no_word_claims_more_than_a_test_can(post):
    assert not re.findall(SWELLING, shown(post.partition("## What the models wrote")[0]), re.I)
    assert not re.findall(
        r"[^.]*\bbetter\b[^.]*\.", prose(post).replace("is called better only", "")
    )


def test_marks_carry_the_runs_and_readers_do_not_see_them(study, post):
    assert len(set(m[2] for m in marked_text.MARK.finditer(post))) > len(study.arms)
    text = shown(post)
    assert "fact" not in text and "<!--" not in text and "draft" not in text
    for key in ("ppo.gold_delta", "caption.compute", "headline"):
        assert facts.every(study)[key].text in text
    assert '<td style="text-align:right"><!--fact' in html(post)
    assert marked_text.at_start(post) == []


def test_hostile_answers_are_text(study, post):
    assert post.count("javascript") >= 4
    out = re.sub(r"<!--.*?-->", "", html(post), flags=re.S)
    assert not re.search(r"<(?:script|img src=x)|href=\"javascript", out) and "{{" not in post
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", post)
    assert {"a", "img"} == {tag for tag in re.findall(r"<(a|img|script|iframe)\b", out)}
    answers = [
        row["completion"] for row in study.samples if row["arm"] == "ppo" and row["seed"] == 1
    ]
    assert all("<script>alert(" in answer for answer in answers)
    assert 'alert("x")</script>' in shown(post) and "[a](javascript:x)" in shown(post)


@pytest.mark.parametrize(
    "text", ["<!--/fact-->", "a\n\n# b", "`", "|", "{% x %}", "@me $x$ http://e.org"]
)
def test_any_text_is_inert(text):
    safe = marked_text.inert(text)
    assert not re.search(r"[<>`|{}@$\n]|://", safe)
    assert shown(f"x {safe}").strip() == f"x {' '.join(text.split())}"


def test_the_same_results_give_the_same_bytes(study, post):
    again = Study(study.tables, study.samples, json.loads(json.dumps(study.meta)))
    assert blog_kit.draft(again) == post


def test_a_refresh_of_a_fresh_post_changes_nothing(study, post):
    assert marked_text.renew(post, facts.every(study)) == (post, [])


def test_a_refresh_changes_what_changed_and_keeps_the_rest_byte_for_byte(study, later, post):
    mine = post.replace("## Cost", "My own words,\t1 % of them.  \r\n\r\n## Cost")
    text, changes = marked_text.renew(mine, facts.every(later))
    assert marked_text.MARK.split(mine)[::5] == marked_text.MARK.split(text)[::5]
    keys = {change.key for change in changes}
    assert {"dpo.gold_delta", "dpo-orpo.difference", "gains"} <= keys
    assert not {"ppo.gold_delta", "ppo.flops", "ppo-ipo.verdict", "request.prompt"} & keys
    assert not [change for change in changes if change.stale]
    assert found_in(text)["dpo.gold_delta"] == verdict.said(later.interval("dpo", "gold_delta"))
    line = next(str(change) for change in changes if change.key == "dpo.gold_delta")
    old, new = (verdict.said(s.interval("dpo", "gold_delta")) for s in (study, later))
    assert line == f"dpo.gold_delta: {old} -> {new}"


def test_new_weights_renew_the_stamp_of_their_own_facts_alone(later, post):
    text, _ = marked_text.renew(post, facts.every(later))
    stamps = [{m[1]: m[2] for m in marked_text.MARK.finditer(t)} for t in (post, text)]
    moved = {key for key, stamp in stamps[0].items() if stamps[1][key] != stamp}
    assert "dpo.flops" in moved and "headline" in moved and "ppo.flops" not in moved


def test_what_cannot_be_renewed_is_flagged_until_it_is_mended(study, post):
    known = facts.every(study)
    edited = post.replace(f"-->{known['ppo.kl'].text}<!--", "-->6<!--", 1)
    edited = edited.replace("<!--fact orpo.kl", "<!--fact gone.kl")
    text, changes = marked_text.renew(edited, known)
    assert {(c.key, c.stale) for c in changes} == {
        ("ppo.kl", marked_text.EDITED),
        ("gone.kl", marked_text.GONE),
    }
    assert text.count(" ⚠ stale") == 2 and shown(text).count("⚠ stale") == 2
    assert "-->6<!--/fact--><!--stale: edited by hand--> ⚠ stale<!--/stale-->" in text
    assert marked_text.renew(text, known) == (text, changes)
    mended = text.replace("-->6<!--", f"-->{known['ppo.kl'].text}<!--")
    mended = mended.replace("<!--fact gone.kl", "<!--fact orpo.kl")
    assert marked_text.renew(mended, known) == (post, [])


def test_broken_lines_are_no_edit_and_a_lost_mark_is_said(study, post):
    known = facts.every(study)
    text = known["certainty"].text
    wrapped = post.replace(text, text.replace(" ", "\n", 1))
    assert marked_text.renew(wrapped, known) == (wrapped, [])
    cut = post.replace("<!--/fact-->", "", 1)
    assert [c.stale for c in marked_text.renew(cut, known)[1]] == [marked_text.BROKEN]


def test_a_line_that_begins_with_a_mark_is_named():
    assert marked_text.at_start("a\n<!--fact b\n- <!--fact c\n| <!--fact d\n> <!--fact e") == [
        2,
        3,
        5,
    ]


def test_references_are_those_cited_and_each_is_found(study, post):
    cited = set(blog_kit.CITED.findall(post))
    entries = blog_kit.bibliography(post, "c0ffee")
    assert cited == set(re.findall(r"^@\w+\{(\w+),", entries, re.M)) == set(blog_kit.entries())
    assert "Commit c0ffee" in entries and entries.count("{") == entries.count("}")
    assert '<a href="https://arxiv.org/abs/1707.06347">@schulman2017</a>' in html(post)
    dpo = Study(study.tables, study.samples, study.meta | {"testbed": "zephyr"})
    dpo.meta["arms"] = [arm for arm in study.meta["arms"] if arm["name"] in ("dpo", "ipo")]
    fewer = set(blog_kit.CITED.findall(blog_kit.draft(dpo)))
    assert cited - fewer == {"schulman2017", "stiennon2020", "ouyang2022", "hong2024", "hutto2014"}


def test_one_seed_decides_nothing_and_failures_are_told(tmp_path):
    text = shown(blog_kit.draft(study_of(tmp_path / "one", seeds=(1,))))
    assert text.count("one seed decides nothing") == 2 and "is better than" not in text
    assert "(no interval)" in text
    fail = {(arm, seed): "oom" for arm in fake_runs.ARMS for seed in (1, 2)}
    none = shown(blog_kit.draft(study_of(tmp_path / "none", seeds=(1, 2), fail=fail)))
    assert "every run failed" in none and "not compared" in none and "8 of 8 runs failed" in none


def test_a_study_that_decides_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(fake_runs, "GAIN", dict.fromkeys(fake_runs.ARMS, 0.0))
    text = shown(blog_kit.draft(study_of(tmp_path, seeds=(1, 2))))
    assert "PPO, DPO, IPO and ORPO could not be told from it" in text
    assert "Inconclusive: PPO against DPO" in text and "is better than" not in text


def test_a_breach_stands_at_the_top(study, post):
    breach = {"field": "pairs", "why": "the same labels", "values": {"dpo seed 1": "<b>9</b>"}}
    broken = Study(study.tables, study.samples, study.meta | {"breaches": [breach]})
    text = shown(blog_kit.draft(broken))
    assert "Breach of the fairness contract: pairs" in text.partition("The question")[0]
    assert "<b>9</b>" in text
    renewed = shown(marked_text.renew(post, facts.every(broken))[0])
    assert "Breach of the fairness contract: pairs" in renewed.partition("The question")[0]


def test_a_sweep_of_many_variants_is_a_comparison_too(tmp_path):
    arms = {"ppo": "ppo"} | {f"ppo-no{i}": "ppo" for i in range(7)}
    text = shown(blog_kit.draft(study_of(tmp_path, arms=arms, seeds=(1, 2, 3))))
    assert "PPO and variants" in text and "PPO no3 − PPO" in text


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A study's folder in which a report was made."""
    root = tmp_path_factory.mktemp("reported")
    fake_runs.make(root, (1, 2), prompts=30)
    tables, texts, found = fake_runs.gathered(root, fake_runs.ARMS, (1, 2))
    study_tables.write(root / "results", tables, texts, fake_runs.meta(found, seeds=(1, 2)))
    report.build(Study(*study_tables.read(root / "results")), root / "report")
    return root


@pytest.fixture
def place(reported, tmp_path, monkeypatch):
    """What the command takes, in a working directory with a copy of that folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(reported, tmp_path / "runs/micro")
    return fake_runs.config(tmp_path / "runs/micro")


def call(cfg, post=None, check=False) -> None:
    command.run(cfg, SimpleNamespace(post=post, check=check))


def test_the_kit_is_written_and_published(place, tmp_path):
    call(place)
    written = json.loads((place.layout.study / "blog.json").read_text())
    drawn = blog_kit.figures((place.layout.study / "blog/post.md").read_text(encoding="utf-8"))
    assert len(drawn) == 3 and "figures/compute.png" in drawn
    assert set(written) == {"post.md", "references.bib", *drawn}
    assert report.hashes(tmp_path / "reports/micro/blog") == written
    call(place)
    assert json.loads((place.layout.study / "blog.json").read_text()) == written


def test_an_edited_draft_is_not_overwritten(place):
    call(place)
    post = place.layout.study / "blog/post.md"
    post.write_text(post.read_text().replace("The question", "My question"))
    with pytest.raises(UserError, match="was edited"):
        call(place)
    assert "My question" in post.read_text()


def test_nothing_of_an_author_s_in_the_folder_is_lost(place):
    call(place)
    (place.layout.study / "blog/mine.md").write_text("x")
    with pytest.raises(UserError, match=r"mine\.md"):
        call(place)


def test_the_command_renews_a_copy_and_its_figures(place, tmp_path, capsys):
    call(place)
    mine = tmp_path / "mine"
    (place.layout.study / "blog").rename(mine)
    post, picture = mine / "post.md", "figures/compute.png"
    fresh = post.read_bytes()
    known = found_in(fresh.decode())["ppo.kl"]
    fact = facts.Fact("ppo.kl", "9.99", "0" * 8)
    was = next(m[0] for m in marked_text.MARK.finditer(fresh.decode()) if m[1] == "ppo.kl")
    old = fresh.decode().replace(was, marked_text.mark(fact)).encode()
    post.write_bytes(old)
    (mine / picture).write_bytes(b"old")
    with pytest.raises(UserError):
        call(place, post, check=True)
    assert post.read_bytes() == old and (mine / picture).read_bytes() == b"old"
    call(place, post)
    said = capsys.readouterr().err
    assert f"ppo.kl: 9.99 -> {known}" in said and f"{picture}: drawn anew" in said
    assert "1 changed, 0 stale" in said
    assert post.read_bytes() == fresh and (mine / picture).read_bytes() != b"old"
    call(place, post, check=True)
    (mine / picture).write_bytes(b"old")
    with pytest.raises(UserError, match="1 drawn anew"):
        call(place, post, check=True)


def test_a_check_says_that_only_the_runs_are_others(place, tmp_path):
    call(place)
    text = (place.layout.study / "blog/post.md").read_text()
    post = tmp_path / "mine.md"
    known = next(m for m in marked_text.MARK.finditer(text) if m[1] == "ppo.kl")
    post.write_text(text.replace(known[0], known[0].replace(known[2], "0" * 8)))
    with pytest.raises(UserError, match="the same words from other runs"):
        call(place, post, check=True)


def test_a_stale_fact_makes_the_command_fail(place, tmp_path):
    call(place)
    text = (place.layout.study / "blog/post.md").read_text()
    post = tmp_path / "mine.md"
    post.write_text(text.replace("<!--fact ppo.kl", "<!--fact gone.kl"))
    with pytest.raises(UserError, match="1 stale"):
        call(place, post)
    assert "⚠ stale" in post.read_text()


@pytest.mark.parametrize("study", blog_kit.OTHERS)
def test_other_studies_are_refused_in_one_line(place, study):
    path = place.layout.study / "results/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"study": study}))
    with pytest.raises(UserError, match=f"'{study}'"):
        call(place)


def test_a_post_that_is_missing_is_one_line(place, tmp_path):
    with pytest.raises(UserError, match="is missing"):
        call(place, tmp_path / "none.md")
