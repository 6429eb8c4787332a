"""The report: what it says, that it is harmless, deterministic, published only when it may be."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import fake_runs
import pytest

from bench.analysis import curves
from bench.analysis.comparisons import pairs
from bench.analysis.results import Results
from bench.core.records import OWN, sealed
from bench.report import figure as figures
from bench.report import labels, page, reference, results, samples, style
from bench.report.study import Study
from bench.report.words import label
from bench.steps import report as report
from bench.studies import kind_of
from bench.studies.compare import page as compare_page
from bench.studies.compare import tables
from bench.studies.compare.figures import scorecard

FILES = {"index.html", "README.md", "results.csv", "results.json", "facts.json", "figures.json"}


def with_runs(study, runs) -> Study:
    """The study with another table of runs."""
    return Study(replace(study.results, runs=runs))


def shared_by(study) -> dict:
    """What the study's page shows."""
    return page.context(study, kind_of(study.meta.study))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five seeds of four methods, one run diverged, hostile samples."""
    folder = tmp_path_factory.mktemp("study")
    return fake_runs.study(folder, fail={("ipo", 2): "diverged"}, text=fake_runs.HOSTILE)


@pytest.fixture(scope="module")
def built(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    report.build(study, out)
    return out


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    return fake_runs.study(tmp_path_factory.mktemp("one"), seeds=(1,))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Many arms of two methods, one of them unknown to the list, one without any finished run."""
    betas = {f"dpo-beta{b}": "dpo" for b in (0.01, 0.03, 0.3, 1)}
    arms = {"dpo": "dpo", "ppo": "ppo", "ipo": "ipo", "ipo-sum": "ipo"} | betas
    fail = {("dpo-beta0.01", s): "oom" for s in (1, 2, 3)}
    folder = tmp_path_factory.mktemp("sweep")
    found = fake_runs.study(folder, arms=arms, seeds=(1, 2, 3), fail=fail)
    return fake_runs.changed(found, study="beta", methods=["ppo", "ipo"])


class Tags(HTMLParser):
    """Every tag with its attributes, and whether tags are closed in order."""

    VOID = ("meta", "br", "img", "link", "source", "input")

    def __init__(self, text):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"


def test_the_page_asks_nothing_of_the_network_and_runs_its_own_script_alone(built):
    html = (built / "index.html").read_text(encoding="utf-8")
    tags = Tags(html)
    names = [tag for tag, _ in tags.seen]
    assert not {"iframe", "img", "link", "object", "embed"} & set(names) and not tags.open
    assert names.count("script") == 1
    own = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert not [a for _, attrs in tags.seen for a in attrs if a.startswith("on")]
    links = [v for _, attrs in tags.seen for k, v in attrs.items() if k in ("href", "src")]
    assert links and not [v for v in links if ":" in v]
    policy = [a["content"] for t, a in tags.seen if "http-equiv" in a]
    assert policy and policy[0].startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy[0]


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(built):
    tags = Tags((built / "index.html").read_text(encoding="utf-8"))
    ids = [attrs["id"] for _, attrs in tags.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    inner = [a["href"] for t, a in tags.seen if t == "a" and a["href"].startswith("#")]
    assert {i[1:] for i in inner} <= set(ids)
    files = [a["href"] for t, a in tags.seen if t == "a" and not a["href"].startswith("#")]
    assert all((built / f).is_file() for f in files)


def test_hostile_text_is_shown_as_text(built):
    html = (built / "index.html").read_text(encoding="utf-8")
    assert "&lt;/script&gt;&lt;script&gt;alert(" in html
    readme = (built / "README.md").read_text(encoding="utf-8")
    for text in (html, readme):
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
        assert "{{ 7" in text.replace("\\*", "*") and "⟨U+202E⟩" in text
    assert "<script" not in readme and "[a](javascript" not in readme


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\u2028", "\x7f\x9b", "a" * 10_000])
def test_what_cannot_be_seen_is_made_visible(text):
    shown = samples.visible(text)
    shown.encode("utf-8")
    assert shown.isprintable() and len(shown) < 1300


def test_figures_are_the_same_bytes_for_the_same_data(study, built, tmp_path):
    every = kind_of(study.meta.study).figures(study)
    figures.draw_all(study, tmp_path, every)
    scorecard.write_card(study, tmp_path, page.title(study), shared_by(study)["lead"])
    first = {p.name: p.read_bytes() for p in sorted((built / "figures").iterdir())}
    assert first == {p.name: p.read_bytes() for p in sorted(tmp_path.iterdir())}
    names = {f"{f.name}{k}" for f in every for k in (".svg", ".png", ".csv", "-tall.svg")}
    assert set(first) == names | {"card.png"}


def test_figures_json_has_the_words_of_every_figure(study, built):
    found = json.loads((built / "figures.json").read_text(encoding="utf-8"))
    every = kind_of(study.meta.study).figures(study)
    assert set(found) == {f.name for f in every}
    for f in every:
        assert found[f.name]["caption"] == f.caption(study)
        assert found[f.name]["alt"] == f.alt(study) and found[f.name]["title"]


def test_figures_use_no_colour_that_the_page_cannot_swap(built):
    known = {colour for pair in style.PALETTE.values() for colour in pair}
    for path in (built / "figures").glob("*.svg"):
        assert set(re.findall(r"#[0-9a-f]{6}\b", path.read_text())) <= known, path.name
    assert not re.search(r"#[0-9a-f]{6}", "".join(_svgs(built)))


def _svgs(built) -> list[str]:
    return re.findall(r"<svg.*?</svg>", (built / "index.html").read_text(encoding="utf-8"), re.S)


def test_figures_carry_alt_text_and_captions_carry_n(study, built):
    assert all('role="img" aria-label="' in svg for svg in _svgs(built))
    for figure in kind_of(study.meta.study).figures(study):
        assert "seed" in figure.caption(study) and "PPO" in figure.alt(study)


def test_a_failed_run_is_in_the_words_the_table_and_the_figure(study, built):
    said = compare_page.cards(study)["stability"]
    assert "IPO seed 2: diverged (loss is NaN at step 12)." in said
    shown = tables.scorecard(study, [])
    row = next(row for row in shown.rows if row[0].text == "IPO")
    cell = row[[name for name, _ in shown.header].index("Failed")]
    assert (cell.text, cell.quiet, cell.mark) == ("1 of 5", "1 to 72 %", "bad")
    listed = reference.failures(study).rows
    assert [[cell.text for cell in r] for r in listed] == [
        ["IPO seed 2", "diverged", "loss is NaN at step 12"]
    ]
    assert "1 run failed (IPO seed 2) and is in no mean" in figures.counts(study)


def test_the_scorecard_holds_the_crossed_interval(study):
    found = study.interval("dpo", "gold_delta")
    row = next(r for r in tables.scorecard(study, []).rows if r[0].text == "DPO")
    assert (row[2].text, row[2].quiet) == (f"+{found.mean:.2f}", f"± {found.half:.2f}")
    assert (found.seeds, found.prompts, found.over) == (5, 80, "seeds and prompts")


def test_one_seed_decides_nothing_and_says_so(one_seed, tmp_path):
    assert shared_by(one_seed)["lead"][0].startswith("One seed")
    assert {row[-1].text for row in tables.comparisons(one_seed).rows} == {
        "inconclusive: 1 shared seed"
    }
    assert "no bands" in figures.band_note(one_seed)
    report.build(one_seed, tmp_path)


def test_many_arms_and_unknown_ones_make_a_page(sweep, tmp_path):
    report.build(sweep, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    lost = '<a href="#runs-dpo-beta0.01">DPO β=0.01</a> seeds 1, 2 and 3: out of memory'
    assert "Study beta on micro" in html and lost in html
    assert {frozenset(pair) for pair in pairs(sweep.results)} == {
        frozenset(p) for p in (("dpo", "ppo"), ("dpo", "ipo"), ("ppo", "ipo"))
    }


def test_arms_of_a_method_share_its_colour_and_differ_otherwise(sweep):
    looks = [sweep.looks[a] for a in sweep.arms if sweep.method[a] == "dpo"]
    assert len({look.colour for look in looks}) == 1
    assert len({(look.marker, look.filled) for look in looks}) == len(looks)


def test_only_a_sweep_of_strengths_is_joined(sweep):
    assert sweep.sweeps == [["dpo", *(f"dpo-beta{b}" for b in (0.01, 0.03, 0.3, 1))]]


def test_a_crowd_of_variants_is_thinned_and_no_tuned_method_unnamed(sweep):
    pen = style.Pen(sweep.looks)
    figure = pen.figure(6, 4)
    ax = figure.subplots()
    points = {arm: (0.5 + 0.001 * i, 0.5) for i, arm in enumerate(sweep.arms)}
    labels.near(pen, {ax: points})
    named = [text.get_text() for text in ax.texts]
    assert {"DPO", "PPO", "IPO"} <= set(named) and len(named) < len(points)


def test_a_study_in_which_all_failed_still_reports(tmp_path):
    fail = {(arm, 1): "diverged" for arm in fake_runs.ARMS}
    study = fake_runs.study(tmp_path, seeds=(1,), fail=fail)
    report.build(study, tmp_path / "report")
    assert "4 of 4 runs failed." in compare_page.cards(study)["stability"]


def test_a_study_that_is_not_evaluated_has_a_page(study, tmp_path):
    found = study.results
    nothing = {"prompts": found.prompts[:0], "tasks": found.tasks[:0], "samples": []}
    report.build(Study(replace(found, **nothing)), tmp_path)
    assert "No samples were kept." in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_breach_is_stamped_on_the_page(study, tmp_path):
    values = {"ppo seed 1": 1500, "dpo seed 1": "<b>1400</b>"}
    breach = {"field": "pairs", "expect": "match", "why": "the same labels", "values": values}
    marked = fake_runs.changed(study, breaches=[breach])
    shared = shared_by(marked)
    names = (form for name in shared["figures"] for form in (name, figures.tall(name)))
    drawn = dict.fromkeys(names, "<svg></svg>")
    for text in (page.html(marked, drawn, shared), page.readme(shared)):
        assert "Breach of the fairness contract: pairs" in text and "&lt;b&gt;1400" in text
        assert "ppo seed 1: 1,500" in text


def step(folder, overrides=(), **more):
    """Collect and report in a working folder, as the command does."""
    root = folder / "runs/micro"
    arms, seeds = fake_runs.ARMS, (1, 2)
    fake_runs.make(root, seeds, prompts=30)
    if more.get("lost"):
        (root / "align/dpo/seed2/run.json").unlink()
    run_tables, texts, facts = fake_runs.gathered(root, arms, seeds)
    plain = {"default_settings": not overrides, "overrides": list(overrides)}
    meta = fake_runs.meta(facts, arms, seeds, **plain, study=more.get("study", "compare"))
    place = root if meta.study == "compare" else root / f"study-{meta.study}"
    Results.of(run_tables, texts, meta).write(place / "results")
    report.run(fake_runs.config(place), SimpleNamespace(beside=[]))
    return place


@pytest.mark.parametrize(
    "case",
    [{}, {"overrides": ("dpo.lr=1",)}, {"lost": True}, {"study": "beta"}],
    ids=["complete", "overridden", "incomplete", "study"],
)
def test_only_a_complete_default_study_is_published(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    place = step(tmp_path, **case)
    written = json.loads((place / "report.json").read_text())
    assert sealed(written) == written
    del written[OWN]
    assert set(written) >= FILES and "figures/scorecard.svg" in written
    target = tmp_path / "reports/micro" / case.get("study", "")
    if set(case) & {"overrides", "lost"}:
        assert not (tmp_path / "reports").exists()
    else:
        assert report.hashes(target) == report.travels(place / "report") != written
        left = {*written} - {*report.hashes(target)}
        assert left and all(name.endswith(".png") for name in left)  # beside drawings alone
        assert "figures/card.png" not in left and "evidence/manifest.json" not in left


def test_publishing_replaces_its_own_files_only(tmp_path):
    source, target = tmp_path / "new", tmp_path / "reports/micro"
    for name in ("new/figures/b.svg", "reports/micro/figures/a.svg", "reports/micro/beta/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    report.publish(source, target)
    assert (target / "beta/x").exists() and (target / "figures/b.svg").exists()
    assert not (target / "figures/a.svg").exists()


def test_a_report_too_large_is_not_published(study, tmp_path):
    (tmp_path / "index.html").write_bytes(b"x" * (report.LARGEST + 1))
    assert "bytes" in report.unfit(study.meta, tmp_path)


def test_results_csv_says_unit_direction_and_n(built):
    import pandas as pd

    table = pd.read_csv(built / "results.csv")
    wanted = {
        "arm",
        "method",
        "measure",
        "unit",
        "better",
        "mean",
        "low",
        "high",
        "seeds",
        "prompts",
    }
    assert wanted <= set(table.columns) and not table.unit.isna().any()


def test_results_json_says_what_its_numbers_are(study, built):
    found = json.loads((built / "results.json").read_text(encoding="utf-8"))
    assert found["schema"] == results.SCHEMA and found["about"]["seeds"] == [1, 2, 3, 4, 5]
    known = {m["key"]: m for m in found["measures"]}
    assert all(m["unit"] and m["better"] and m["formula"] for m in known.values())
    assert {r["measure"] for r in found["results"]} <= set(known)
    compared = [(r["a"], r["b"]) for r in found["comparisons"] if r["family"] == "methods"]
    assert compared == pairs(study.results)
    lost = next(r for r in found["runs"] if r["status"] != "ok")
    assert (lost["arm"], lost["seed"], lost["values"]) == ("ipo", 2, {})


def test_the_runs_of_results_json_average_to_its_results(built):
    found = json.loads((built / "results.json").read_text(encoding="utf-8"))
    for measure in ("gold", "gold_delta", "kl", "cost", "preference"):
        runs = [r["values"][measure] for r in found["runs"] if r["arm"] == "dpo"]
        row = next(r for r in found["results"] if (r["arm"], r["measure"]) == ("dpo", measure))
        assert sum(runs) / len(runs) == pytest.approx(row["mean"], rel=1e-4)


def test_numbers_lead_to_the_runs_that_they_come_from(study, built):
    html = (built / "index.html").read_text(encoding="utf-8")
    for table in (tables.scorecard(study, []), tables.tasks(study), tables.writing(study)):
        for row in table.rows:
            for column, cell in enumerate(row[1:], 1):
                of_arm = table.links[column] if table.links else row[0].link
                if re.search(r"\d", cell.text) and row[0].text != "SFT":
                    assert table.link(row, column) == of_arm
    assert '<a href="#runs-ppo">' in html and 'id="runs-ppo"' in html


def test_names_of_arms_become_links_and_nothing_else_does(sweep):
    linked = page.linker(sweep)("DPO, DPO β=0.3 & <DPO> are no DPOs: IPO-like")
    dpo, weak = '<a href="#runs-dpo">DPO</a>', '<a href="#runs-dpo-beta0.3">DPO β=0.3</a>'
    assert str(linked) == f"{dpo}, {weak} &amp; &lt;{dpo}&gt; are no DPOs: IPO-like"


def test_samples_are_chosen_by_their_gold_or_by_chance(study):
    entries = samples.chosen(study)
    gains = {}
    for entry in entries:
        golds = {a["arm"]: a["gold"] for a in entry["answers"]}
        gains[entry["family"], entry["id"]] = golds["PPO"] - golds["SFT"]
    best = [e for e in entries if "best-ppo" in e["sets"] and e["family"] == "review"]
    others = [e for e in entries if "best-ppo" not in e["sets"] and e["family"] == "review"]
    assert len(best) == samples.EXTREME
    least = min(gains["review", e["id"]] for e in best)
    assert all(gains["review", e["id"]] <= least for e in others)
    random = [e for e in entries if "random" in e["sets"]]
    assert entries[: samples.RANDOM] == [e for e in random if e["family"] == entries[0]["family"]]
    assert len(random) == samples.RANDOM * len(fake_runs.FAMILIES)


def test_a_companion_is_shown_if_it_started_from_the_same_weights(study):
    assert report.same_start(study, fake_runs.changed(study, study="stability"))
    other = with_runs(study, study.runs.assign(hash_start="another"))
    assert not report.same_start(study, other)


def test_a_companion_of_other_settings_is_left_out(study):
    """A run that both hold must be the same run; a failed one has no weights to compare."""
    assert report.same_runs(study, Study(study.results))
    changed = study.runs.model_sha256.mask(study.runs.arm == "dpo", "another")
    runs = study.runs.assign(model_sha256=changed)
    assert not report.same_runs(study, with_runs(study, runs))
    others = study.runs.assign(arm=study.runs.arm + "-betax3", model_sha256="another")
    assert report.same_runs(study, with_runs(study, others))


def test_what_was_not_run_is_said_with_its_command(study):
    words = " ".join(line for s in shared_by(study)["sections"] for line in s.lines)
    assert "Not run here" in words and "study=stability" in words


def test_gain_is_from_the_sft_base_wherever_an_arm_started(tmp_path):
    arms = {"orpo": "orpo", "orpo-from-base": "orpo"}
    study = fake_runs.study(tmp_path, arms=arms, seeds=(1, 2))
    orpo, late = study.meta.arms
    late = fake_runs.changed(study, arms=[orpo, replace(late, start="base")]).results
    late.curve.loc[late.curve.arm == "orpo-from-base", "gold"] -= 3.0
    sft = curves.of_arm(late, "orpo").query("fraction == 0").gold.mean()
    own = curves.of_arm(late, "orpo-from-base")
    assert own.gain.tolist() == pytest.approx((own.gold - sft).tolist())
    assert own.gain.max() < -1


def test_the_page_of_views_holds_each_view_and_the_matrix(tmp_path):
    arms = {"ppo": "ppo", "dpo": "dpo", "ppo-n750": "ppo", "dpo-n750": "dpo"}
    arms |= {f"{m}-betax3": m for m in ("ppo", "dpo")}
    fail, few = {("dpo", 2): "oom"}, {"n": 750, "label_set": "gold-n750", "varies": ()}
    study = fake_runs.study(tmp_path / "runs", arms=arms, seeds=(1, 2, 3), fail=fail)
    listed = [replace(a, **few) if a.name.endswith("-n750") else a for a in study.meta.arms]
    report.build(fake_runs.changed(study, study="views", arms=listed), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    for view in ("750 labels", "1,500 labels"):
        assert f"| {view} |" in text
    assert "| Equal KL budget |" not in text  # the invented sweeps do not overlap
    assert "### Ends of the sweeps" in text
    assert (tmp_path / "out/results.csv").read_text().startswith("view,a,b,difference")
    assert "1 run failed" in text


@pytest.mark.parametrize(
    "arm,words",
    [
        ("dpo-beta0.3", "DPO β=0.3"),
        ("dpo-lrx3-betax0.33", "DPO lr ×3 β ×⅓"),
        ("dpo-n750", "DPO n=750"),
        ("ppo-trial07", "PPO trial 07"),
        ("ipo-epochsx5", "IPO epochs ×5"),
        ("orpo-from-base", "ORPO from base"),
        ("ppo-no-clip", "PPO no clip"),
        ("sft", "SFT"),
    ],
)
def test_arms_are_called_as_readers_call_them(arm, words):
    assert label(arm) == words


def test_text_on_a_shade_can_be_read():
    """WCAG's contrast of 4.5 on every shade, in both themes with the same name of a colour: the
    page swaps colours and not names."""
    for face in (*style.SHADES, "paper"):
        for theme in (style.LIGHT, style.DARK):
            assert style.contrast(face, style.readable(face), theme) >= 4.5


def test_how_much_was_searched_is_said_by_name():
    found = {"ppo": {"trials": 24, "flops": 33e12}, "dpo": {"trials": 44, "flops": 31e12}}
    words = "Tuning tried, on one seed, random settings: 24 of PPO and 44 of DPO"
    spent = "(PPO 33 T and DPO 31 T)"
    assert page.of_trials(found) == f"{words}, in about as many FLOPs {spent}"
    assert page.of_trials(found | {"dpo": {"trials": 44, "flops": 1e12}}) == words
    alike = {method: {"trials": 8} for method in found}
    assert page.of_trials(alike) == "Tuning tried 8 random settings of each method, on one seed"


def test_a_sample_has_more_draws_of_its_first_run_and_the_other_seeds(study):
    rows = [row for row in study.results.samples if row["seed"] in (0, 1, 2)]
    more = [row | {"draw": 1, "completion": "again"} for row in rows if row["seed"] == 1]
    found = samples.chosen(Study(replace(study.results, samples=[*more, *rows])))
    answer = next(a for a in found[0]["answers"] if a["arm"] == "DPO")
    assert (answer["seed"], answer["draw"]) == (1, 0)
    assert [(m["seed"], m["draw"]) for m in answer["more"]] == [(1, 1), (2, 0)]
    assert answer["more"][0]["text"] == "again"
