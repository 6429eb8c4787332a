"""facts.json: equals the statistics, has the same keys however runs ended, says what the page says.

And any text of a fact is inert Markdown.
"""

import json
import re
from html import unescape

import fake_runs
import pytest
from markdown_it import MarkdownIt

from bench.analysis.comparisons import pairs
from bench.core.files import read_json
from bench.report import facts as facts_of
from bench.report import marked_text, page
from bench.report.words import difference, p_words, said, verdict
from bench.steps import report as report
from bench.studies import kind_of

BLOCK = re.compile(r"</?(?:p|li|ul|ol|h\d|div|td|th|tr|dt|dd|pre|blockquote|figcaption|br)\b[^>]*>")
SENTENCES = ("headline", "answer", "quality", "cost", "stability", "tax", "contract", "charged")


def every(study) -> dict[str, str]:
    """The facts of a study."""
    kind = kind_of(study.meta.study)
    return facts_of.of(study, kind, page.context(study, kind))


def seen(html: str) -> str:
    """What a reader sees of HTML, on one line."""
    html = re.sub(r"<!--.*?-->|<(script|style|svg)\b.*?</\1>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]*>", "", BLOCK.sub(" ", html))).split())


def rendered(markdown: str) -> str:
    """What a reader sees of Markdown, on one line."""
    return seen(MarkdownIt("commonmark").enable("table").render(markdown))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five seeds of four methods, one run diverged for a hostile reason, hostile samples."""
    folder = tmp_path_factory.mktemp("study")
    found = fake_runs.study(folder, fail={("ipo", 2): "diverged"}, text=fake_runs.HOSTILE)
    lost = found.results.runs.status != "ok"
    found.results.runs.loc[lost, "reason"] = (
        f"{fake_runs.HOSTILE} https://x.org @me $x$ <!--fact a-->"
    )
    return found


@pytest.fixture(scope="module")
def built(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    report.build(study, out)
    return out


@pytest.fixture(scope="module")
def facts(built):
    return read_json(built / "facts.json", needed=True)


def test_facts_are_the_statistics(study, facts):
    for arm in study.arms:
        assert facts[f"{arm}.gold_delta"] == said(study.interval(arm, "gold_delta"))
        kl = study.interval(arm, "kl")
        assert facts[f"{arm}.kl"] == f"{kl.mean:.2f} ({kl.low:.2f} to {kl.high:.2f})"
    for row in (*study.versus, *study.versus_sft):
        key = f"{row.a}-{row.b}"
        assert facts[f"{key}.verdict"] == verdict(row)
        assert facts[f"{key}.difference"] == difference(row)
        assert unescape(facts[f"{key}.p"]) == p_words(row.p_holm)
    assert facts["ipo.failed"] == "1 of 5" and facts["ppo.failed"] == "0 of 5"
    assert (facts["runs"], facts["seeds"], facts["prompts"]) == ("20", "5", "80")
    assert "IPO seed 2: diverged" in facts["stability"]


def test_every_declared_pair_has_facts(study, facts):
    for a, b in pairs(study.results):
        assert {f"{a}-{b}.{name}" for name in ("difference", "p", "verdict")} <= set(facts)


def test_keys_do_not_depend_on_how_runs_ended(tmp_path, facts):
    """Nor do they where every run of a method failed, or every run at all."""
    seeds = (1, 2, 3)
    few = {"seeds": seeds, "prompts": 30}
    lost = {("ipo", seed): "oom" for seed in seeds}
    every_one = {(arm, seed): "oom" for arm in fake_runs.ARMS for seed in seeds}
    whole, one, none = (
        every(fake_runs.study(tmp_path / name, fail=fail, **few))
        for name, fail in (("whole", {}), ("one", lost), ("none", every_one))
    )
    assert set(whole) == set(one) == set(none) == set(facts)
    assert one["ipo.gold_delta"] == one["ipo.grammar.exact_match"] == "–"
    assert one["ppo-ipo.verdict"] == "inconclusive: every run of IPO failed"
    assert "every run of ppo failed" in none["quality"].lower()


def test_a_page_without_failures_has_no_empty_table(tmp_path):
    study = fake_runs.study(tmp_path, seeds=(1, 2), prompts=30)
    report.build(study, tmp_path / "out")
    for name, head in (("README.md", "### Failed runs"), ("index.html", "<h3>Failed runs")):
        assert head not in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_page_and_readme_say_the_facts_sentences(facts, built):
    """One narrator: whatever a post quotes as a sentence stands in the report word for word."""
    shown = {
        "README.md": rendered((built / "README.md").read_text(encoding="utf-8")),
        "index.html": seen((built / "index.html").read_text(encoding="utf-8")),
    }
    groups = ("lines.", "caption.", "limitation.")
    keys = [k for k in facts if k in SENTENCES or k.startswith(groups)]
    assert len([k for k in keys if facts[k]]) > 25
    for name, text in shown.items():
        assert not [key for key in keys if rendered(facts[key]) not in text], name


def test_page_and_readme_show_the_facts_tables(facts, built):
    shown = rendered((built / "README.md").read_text(encoding="utf-8"))
    tables = [key for key in facts if key.startswith("table.")]
    assert len(tables) > 6
    for key in tables:
        assert facts[key].startswith("|") and rendered(facts[key]) in shown, key


def test_a_breach_is_the_caveat_and_named_by_the_contract(study):
    breach = {"field": "pairs", "why": "the same labels", "values": {"dpo seed 1": "<b>9</b>"}}
    broken = every(fake_runs.changed(study, breaches=[breach]))
    said_of = rendered(broken["caveat"])
    assert (
        said_of == "Breach of the fairness contract: pairs (the same labels): dpo seed 1: <b>9</b>."
    )
    assert broken["contract"] == "1 breach of the fairness contract: pairs."
    assert every(study)["caveat"] == ""


def test_what_forbids_quoting_is_the_caveat(study):
    changed = fake_runs.changed(
        study, complete=False, default_settings=False, overrides=["dpo.lr=1", "ppo.x=_y_"]
    )
    assert rendered(every(changed)["caveat"]) == (
        "Runs are missing: do not quote this. Not the default settings: dpo.lr=1 ppo.x=_y_."
    )


def test_every_fact_is_inert(facts):
    """A hostile reason of a failure is in a sentence and in a table, hostile answers in others."""
    assert sum("javascript" in text for text in facts.values()) >= 14
    for key, text in facts.items():
        bare = text.strip("*") if key == "caveat" else text
        bare = "" if re.fullmatch(r"`[^`<|\n]*`", bare) else bare
        bare = bare.replace("|", "") if key.startswith("table.") else bare
        assert not re.search(r"[<>`|{}@$*\\]|://|\]\(", bare), key
        assert key.startswith("table.") or "\n" not in text
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", bare)


@pytest.mark.parametrize(
    "text", ["<!--/fact-->", "a\n\n# b", "`", "|", "{% x %}", "@me $x$ http://e.org"]
)
def test_any_text_is_inert(text):
    safe = marked_text.inert(text)
    assert not re.search(r"[<>`|{}@$\n]|://", safe)
    assert rendered(f"x {safe}") == f"x {' '.join(text.split())}"


def test_the_same_results_give_the_same_facts(study, facts):
    assert json.loads(json.dumps(every(study))) == facts
