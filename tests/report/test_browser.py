"""Every kind of page in a real browser: wide and narrow, light and dark, in print, by keyboard.

Chromium is driven by playwright; axe-core judges accessibility. Where one is missing these tests
are skipped, or fail with PREFBENCH_BROWSER=1.
"""

import io
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import fake_claims
import fake_runs
import pandas as pd
import pytest
from PIL import Image

from bench.analysis.measures import MEASURES
from bench.analysis.results import Pick, Results
from bench.report import results, style
from bench.report.differences import Two
from bench.report.study import Study
from bench.steps import diff
from bench.steps import report as report
from bench.studies import PLANS

CACHE = Path.home() / ".cache/prefbench"
AXE = CACHE / "node_modules/axe-core/axe.min.js"
CHROMIUM = os.environ.get("PREFBENCH_CHROMIUM") or shutil.which("chromium")
HOW = (
    "needs Chromium (`apt-get install chromium`, or PREFBENCH_CHROMIUM=its path) and axe-core "
    f"(`npm install --prefix {CACHE} axe-core@4.14.1`, or PREFBENCH_AXE=path of axe.min.js)"
)
WIDTHS = (1400, 390)
THEMES = ("light", "dark")
BREACH = {
    "field": "pairs",
    "expect": "match",
    "why": "the same labels",
    "values": {"ppo seed 1": 1500, "dpo seed 1": f"1400 {fake_runs.HOSTILE}"},
}


def named(found: Results, study: str, changed=lambda arm: {}, **more) -> Study:
    """The results as those of another study; changed: what else its arms are."""
    arms = [replace(arm, **changed(arm)) for arm in found.meta.arms]
    return Study(replace(found, meta=replace(found.meta, study=study, arms=arms, **more)))


def comparison(root) -> Study:
    """Ten seeds of four methods: a failed run, a breach, long and hostile prompts and answers."""
    seeds, fail, text = range(1, 11), {("ipo", 2): "diverged"}, fake_runs.HOSTILE
    found = fake_runs.collected(root, seeds=seeds, fail=fail, text=text)
    for row in found.samples:
        row["prompt"] += text
        row["completion"] += "x" * 10_000 * (row["arm"] == "orpo")
    return named(found, "compare", breaches=[BREACH])


def grid(root) -> Study:
    """Two learning rates by two strengths for each method, one of them diverged."""
    cells = {
        "": {},
        "-lrx3": {"lr": 3},
        "-betax3": {"beta": 3},
        "-lrx3-betax3": {"lr": 3, "beta": 3},
    }
    arms = {m + cell: m for m in fake_runs.ARMS for cell in cells}
    fail = {("dpo-lrx3", 1): "diverged"}
    found = fake_runs.collected(root, arms=arms, seeds=(1,), fail=fail)
    return named(
        found, "stability", lambda arm: {"factors": cells[arm.name.removeprefix(arm.method)]}
    )


def search(root) -> Study:
    """Three trials for each method, one of them diverged."""
    arms = {f"{m}-trial{k:02d}": m for m in fake_runs.ARMS for k in (1, 2, 3)}
    fail = {("ipo-trial02", 100): "diverged"}
    found = fake_runs.collected(root, arms=arms, seeds=(100,), fail=fail)
    sets = {arm: {"lr": k * 1e-4, "beta": k / 10} for k, arm in enumerate(arms, 1)}
    spaces = {method: {"lr": [1e-5, 1e-2], "beta": [0.01, 3]} for method in fake_runs.ARMS}
    tune = {"spaces": spaces, "epochs": {}}
    return named(found, "tune", lambda arm: {"sets": sets[arm.name]}, tune=tune)


def finals(root) -> Study:
    """Two candidates of each method on three seeds, one run diverged."""
    ends = ("final1-constant", "final2-decayed")
    arms = {f"{m}-{end}": m for m in fake_runs.ARMS for end in ends}
    fail = {("ipo-final1-constant", 102): "diverged"}
    found = fake_runs.collected(root, arms=arms, seeds=(101, 102, 103), fail=fail)
    return named(found, "finals", lambda arm: {"sets": {"lr": 1e-3, "beta": 0.1, "decay": 0.5}})


def three_bases(root) -> Study:
    """Each method from three SFT bases; the two further ones have the gold of the first."""
    arms = {f"{m}{end}": m for end in ("", "-sft2", "-sft3") for m in fake_runs.ARMS}
    found = fake_runs.collected(root, arms=arms, seeds=(1, 2))
    base = found.prompts[found.prompts.arm == "sft"]
    more = [base.assign(arm=f"sft@{n}") for n in (2, 3)]
    return named(
        replace(found, prompts=pd.concat([found.prompts, *more])),
        "bases",
        lambda arm: {"base": f"sft@{arm.name[-1]}"} if "-sft" in arm.name else {},
        planned={arm: [1, 2] for arm in arms},
    )


def two_sizes(root) -> Study:
    """Each method on two models, on one of them at a rate of three, with the gold of one base."""
    arms = {f"{m}{end}": m for end in ("", "-w32") for m in fake_runs.ARMS}
    found = fake_runs.collected(root, arms=arms, seeds=(1, 2, 3))
    base = found.prompts[found.prompts.arm == "sft"].assign(arm="sft-w32")
    size = found.runs.arm.map(lambda arm: 48_224 if "-w32" in arm else 176_320)
    tried = {name: {"settings": {"lr": lr}, "gains": [0.4, 0.5]}
             for name, lr in (("own", 2e-3), ("a", 7e-4), ("b", 6e-3))}  # fmt: skip
    return named(
        replace(found, prompts=pd.concat([found.prompts, base]),
                runs=found.runs.assign(parameters=size)),
        "sizes",
        lambda arm: {"base": "sft-w32", "factors": {"lr": 2.0}} if "-w32" in arm.name else {},
        picks={f"{m}-w32": Pick("own", [111, 112], tried) for m in fake_runs.ARMS},
    )  # fmt: skip


def three_views(root) -> Study:
    """Full and few labels and a second strength for two methods, one run out of memory."""
    arms = {f"{m}{tail}": m for tail in ("", "-n750", "-betax3") for m in ("ppo", "dpo")}
    few = {"n": 750, "label_set": "gold-n750", "varies": ()}
    found = fake_runs.collected(root, arms=arms, seeds=(1, 2, 3), fail={("dpo", 2): "oom"})
    return named(found, "views", lambda arm: few if arm.name.endswith("-n750") else {})


def all_claims(root) -> Study:
    """Every claim from four SFT bases, and the map."""
    return Study(fake_claims.results())


STUDIES = {
    "claims": all_claims,
    "compare": comparison,
    "stability": grid,
    "tune": search,
    "finals": finals,
    "bases": three_bases,
    "sizes": two_sizes,
    "views": three_views,
}


KINDS = (*STUDIES, "side by side")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """{kind: folder of its page}."""
    root, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("reports")
    studies = {kind: make(root / kind) for kind, make in STUDIES.items()}
    studies["compare"].companions.update(
        {name: studies[name] for name, plan in PLANS.items() if getattr(plan, "COMPANION", False)}
    )
    for kind, study in studies.items():
        report.build(study, out / kind)
    first, second = (results.document(studies[kind], MEASURES) for kind in ("compare", "views"))
    diff.build(Two(first, second, ("here/micro", "elsewhere/micro")), out / "side by side")
    return {kind: out / kind for kind in KINDS}


@pytest.fixture(scope="session")
def browser():
    axe = Path(os.environ.get("PREFBENCH_AXE", AXE))
    if not (CHROMIUM and axe.is_file()):
        (pytest.fail if os.environ.get("PREFBENCH_BROWSER") == "1" else pytest.skip)(HOW)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM)
        yield Browser(chromium, axe.read_text(encoding="utf-8"))
        chromium.close()


@dataclass
class Browser:
    """A running Chromium and the source of axe-core."""

    chromium: object
    axe: str

    @contextmanager
    def show(self, file: Path, width: int = 1400, theme: str = "light"):
        """A page that has loaded, and the list of all that goes wrong with it meanwhile."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme
        )
        page, faults = context.new_page(), []
        watch(page, file.as_uri(), faults)
        page.goto(file.as_uri())
        yield page, faults
        context.close()


def watch(page, url: str, faults: list[str]) -> None:
    """Note errors, dialogs, and requests for anything but the page itself."""

    def console(message):
        if message.type in ("error", "warning"):
            faults.append(f"console: {message.text}")

    def dialog(shown):
        faults.append(f"dialog: {shown.message}")
        shown.dismiss()

    def request(asked):
        if asked.url.split("#")[0] != url:
            faults.append(f"request: {asked.url[:200]}")

    page.on("console", console)  # a breach of the Content-Security-Policy is an error there
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("dialog", dialog)
    page.on("request", request)


LAYOUT = """() => {
  const found = [], root = document.scrollingElement;
  const name = e => `${e.tagName} ${e.getAttribute("class")} "${e.textContent.slice(0, 60)}"`;
  const scrolls = e => e && (/auto|scroll/.test(getComputedStyle(e).overflowX)
    || scrolls(e.parentElement));
  if (root.scrollWidth > root.clientWidth) found.push(`the page scrolls to ${root.scrollWidth}`);
  for (const e of document.body.querySelectorAll("*:not(svg, svg *)"))
    if (e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1 && !scrolls(e))
      found.push("too wide: " + name(e));
  if (innerWidth < 640) {
    const folds = [...document.querySelectorAll("details:not([open])")];
    for (const fold of folds) fold.open = true;
    for (const e of document.querySelectorAll(".scroll"))
      if (e.scrollWidth > e.clientWidth + 1) found.push("a table scrolls: " + e.ariaLabel);
    for (const fold of folds) fold.open = false;
  }
  for (const e of document.querySelectorAll("svg text")) {
    const box = e.getBoundingClientRect(), frame = e.closest("svg").getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
      found.push("outside its figure: " + name(e));
  }
  return found;
}"""
VIOLATIONS = """async () => (await axe.run()).violations
  .filter(v => ["serious", "critical"].includes(v.impact))
  .map(v => `axe: ${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160))}`)"""
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
UNFOLD = "document.querySelectorAll('details').forEach(fold => fold.open = true)"
FOCUS = """() => {
  window.focused = [];
  document.addEventListener("focusin", ({target: e}) => window.focused.push(
    [e.getAttribute("href") || e.tagName, getComputedStyle(e).outlineStyle !== "none"]));
  return document.querySelectorAll("a, button, input, select, summary, [tabindex]").length;
}"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_silent_and_nothing_on_it_is_cut(browser, built, kind, width, theme):
    with browser.show(built[kind] / "index.html", width, theme) as (page, faults):
        print(f"{kind}: loaded in {page.evaluate(LOADED):.0f} ms")  # no limit: machines differ
        for _ in ("folded", "unfolded"):
            assert faults + page.evaluate(LAYOUT) == []
            page.evaluate(UNFOLD)


@pytest.mark.parametrize("width,theme", list(zip(WIDTHS, THEMES, strict=True)))
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_accessible(browser, built, kind, width, theme):
    with browser.show(built[kind] / "index.html", width, theme) as (page, faults):
        page.evaluate(browser.axe)
        page.evaluate(UNFOLD)
        assert faults + page.evaluate(VIOLATIONS) == []


def test_every_kind_of_page_is_among_these():
    assert set(STUDIES) == {"compare", *PLANS}


def test_a_figure_of_its_own_is_as_dark_as_the_screen(browser, built, tmp_path):
    """As a README shows it: by <img>, in a page of either colour scheme."""
    figure = (built["compare"] / "figures/cost.svg").as_uri()
    page_of_it = tmp_path / "page.html"
    head = '<meta name="color-scheme" content="light dark">'
    page_of_it.write_text(f'{head}<body style="margin:0"><img src="{figure}">')
    for theme, colour in zip(THEMES, style.PALETTE["paper"], strict=True):
        with browser.show(page_of_it, theme=theme) as (page, _):
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        assert picture.getpixel((3, 100)) == style.rgb(colour)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_prints(browser, built, kind):
    with browser.show(built[kind] / "index.html", theme="dark") as (page, faults):
        page.emulate_media(media="print")
        paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert page.pdf().startswith(b"%PDF") and faults == []
        assert paper == "rgb(255, 255, 254)"  # as in light, whatever the reader's screen is


def test_hostile_text_is_text_in_prompts_answers_and_breaches(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, faults):
        page.wait_for_timeout(200)  # an image that fails to load would run its onerror by now
        texts = page.locator("bdi", has_not_text="sft says").all_text_contents()
        stamp = page.locator(".stamp").text_content()
        assert page.locator("img, iframe, object, embed").count() == 0 and faults == []
    for shown in (*texts, stamp):
        assert '</script><script>alert("x")</script> <img src=x onerror=alert(1)> \' " &' in shown
    assert any("more characters" in text for text in texts)


def test_a_keyboard_reaches_every_link_and_sees_where_it_is(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, _):
        page.evaluate(UNFOLD)
        links = page.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        for _ in range(page.evaluate(FOCUS) + 50):  # what scrolls has it too
            page.keyboard.press("Tab")
        focused = page.evaluate("window.focused")
    assert {*links, "BUTTON", "SELECT"} <= {name for name, _ in focused}
    assert all(outlined for _, outlined in focused)


def column(table, number: int) -> list[str]:
    """What the cells of a column say, from top to bottom."""
    return table.locator(f"tbody tr > :nth-child({number})").all_text_contents()


def known(texts: list[str]) -> list[float]:
    """The numbers among these; a failed trial has none."""
    return [float(text) for text in texts if text != "–"]


def test_a_table_sorts_by_a_column_up_and_down(browser, built):
    """By keyboard, by the numbers and not their text, the highest first; and it says so."""
    with browser.show(built["tune"] / "index.html") as (page, _):
        table = page.get_by_role("region", name="Every trial").locator("table")
        before = column(table, 1)
        number = known(column(table, 5))
        head = table.locator("th", has_text="KL")
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert known(column(table, 5)) == sorted(number, reverse=True) != number
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert known(column(table, 5)) == sorted(number)
        assert sorted(column(table, 1)) == sorted(before)


def test_what_has_no_value_stays_last(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, _):
        page.evaluate(UNFOLD)
        table = page.get_by_role("region", name="Table: Scorecard").locator("table")
        head = table.locator("th", has_text="Compute")
        for _ in range(2):
            head.locator("button").click()
            assert column(table, 5)[-1] == "–" and column(table, 1)[-1].strip() == "SFT"


def test_a_number_of_the_answer_leads_to_its_runs_in_the_folded_appendix(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, _):
        runs = page.locator("#runs-ppo")
        assert not runs.is_visible()
        of_ppo = page.locator(".glance tbody tr", has_text="PPO").locator("a")
        for link in (of_ppo.first, of_ppo.last):
            link.click()
            assert page.url.endswith("#runs-ppo") and runs.is_visible()
            page.evaluate(UNFOLD.replace("true", "false"))
            assert not runs.is_visible()


def test_samples_are_filtered_by_set_and_family(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, _):
        shown, everything = page.locator(".sample:visible"), page.locator(".sample").count()
        chosen, family = page.locator("#pick select").all()
        chosen.select_option("worst-dpo")
        family.select_option("review")
        sets = shown.evaluate_all("all => all.map(s => [s.dataset.family, s.dataset.sets])")
        assert 0 < len(sets) < everything and all(
            f == "review" and "worst-dpo" in s.split() for f, s in sets
        )
        assert page.locator("#pick output").text_content() == f"{len(sets)} prompts"


def test_samples_are_found_by_their_words(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, _):
        shown = page.locator(".sample:visible")
        first = shown.first.locator(".prompt small").text_content()
        page.locator("#pick input").fill(first.upper())
        assert shown.count() == 1 and page.locator("#pick output").text_content() == "1 prompts"


@pytest.mark.parametrize("width", WIDTHS)
def test_marks_tell_their_values_to_a_pointer_and_to_arrow_keys(browser, built, width):
    with browser.show(built["compare"] / "index.html", width) as (page, faults):
        picture = page.locator("#figure-scorecard svg:visible")
        tip = page.locator("#tip")
        picture.focus()
        said = []
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
            said.append(tip.text_content())
        assert said[0].startswith("PPO · Quality · seed 1: +") and said[0] == said[2] != said[1]
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        mark = picture.locator("use").last.bounding_box()
        page.mouse.move(mark["x"] + mark["width"] / 2 + 4, mark["y"] + 4)
        assert tip.text_content().startswith("ORPO · Stability: ")
        page.mouse.move(2, 2)
        assert not tip.is_visible() and faults == []


def test_a_method_and_single_runs_can_be_hidden(browser, built):
    colour = """svg => [...svg.querySelectorAll("text")]
      .filter(t => t.textContent === "PPO").map(t => getComputedStyle(t).visibility)"""
    with browser.show(built["compare"] / "index.html") as (page, faults):
        figure = page.locator("#figure-frontier")
        picture, buttons = figure.locator("svg:visible"), figure.locator(".keys button")
        assert buttons.all_text_contents() == ["PPO", "DPO", "IPO", "ORPO", "single runs"]
        assert picture.evaluate(colour) == ["visible"]
        buttons.first.click()
        assert picture.evaluate(colour) == ["hidden"]
        assert buttons.first.get_attribute("aria-pressed") == "false"
        runs = picture.locator("[data-seed]").first
        assert runs.evaluate("g => getComputedStyle(g).visibility") == "visible"
        buttons.last.click()
        assert runs.evaluate("g => getComputedStyle(g).visibility") == "hidden"
        buttons.first.click()
        assert picture.evaluate(colour) == ["visible"] and faults == []


def test_a_measure_explains_itself(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, _):
        page.evaluate(UNFOLD)
        page.get_by_role("button", name="KL from SFT").first.focus()
        assert "KL per token" in page.locator("#tip").text_content()


def test_tables_and_the_finding_are_copied(browser, built):
    with browser.show(built["compare"] / "index.html") as (page, faults):
        page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
        page.get_by_role("button", name="Copy this finding with its source").click()
        assert page.evaluate("copied").endswith("study compare · commit 000000000000)")
        glance = page.locator(".glance")
        glance.get_by_role("button", name="Copy as CSV").click()
        rows = page.evaluate("copied").split("\n")
        assert rows[0].startswith('"","Beats SFT of its answers') and rows[1].startswith('"PPO","')
        glance.get_by_role("button", name="Copy as Markdown").click()
        rows = page.evaluate("copied").split("\n")
        assert rows[1] == "| --- | --- | --- | --- | --- |" and rows[2].startswith("| PPO | ")
        assert faults == []


def test_ten_seeds_of_four_methods_stay_small(built):
    sizes = {f.name: f.stat().st_size for f in built["compare"].rglob("*.*")}
    assert sum(sizes.values()) < report.LARGEST
    assert sizes["index.html"] < 1_500_000
