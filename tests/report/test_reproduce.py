"""'How to reproduce': the command of a report, pasted into a shell, asks for the same settings."""

import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.cli import parse_config

from bench.core.names import DEFAULT_TESTBED
from bench.report.reproduce import command, snakemake
from bench.settings.overrides import asked, flow, merge, parse
from bench.studies import load

REPO = Path(__file__).parents[2]
START = ["snakemake", "--cores", "all"]


def pasted(text: str) -> list[str]:
    """The words that bash makes of a line."""
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True
    )
    return shown.stdout.decode().split("\0")[:-1]


def read(text: str) -> tuple[str, list[str]]:
    """The testbed and the overrides that the Snakefile takes from a pasted command."""
    words = pasted(text)
    assert words == shlex.split(text)
    assert words[:3] == START and words[3:4] in ([], ["--config"])
    return asked(parse_config(words[4:]))


def meta(cfg) -> SimpleNamespace:
    """What the tables say of a study with these settings, in the words of `collect`."""
    overrides = sorted(o for o in cfg.overrides if not o.startswith(("study=", "strict=")))
    return SimpleNamespace(source=cfg.source, study=cfg.study, overrides=overrides)


def tree(overrides) -> dict:
    """Overrides as nested settings."""
    found = {}
    for item in overrides:
        found = merge(found, parse(item, found))
    return found


METHOD = """\
from bench.core.schema import Section

NEEDS = ()


class Settings(Section):
    lr: float = 1e-3
    beta: float = 1.0
    note: str = ""


def train(run):
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of one's own testbed and method, whose names need quoting, in which one works."""
    folder = tmp_path / "my lab's: café"
    folder.mkdir()
    (folder / "lab.yaml").write_text("extends: tiny\nseeds: [3]\n")
    (folder / "open.yaml").write_text("extends: smol-hub\nmodel: {hub: null}\n")
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "hinge.py").write_text(METHOD)
    (folder / "hinge.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dpo.beta=0.3"],
        ["dpo.lr=1e-5", "ipo.lr=0.00001", "orpo.lr=3.0e-4"],
        ["dpo={beta: 0.3, lr: 1e-5}", "dpo.batch=4"],
        ["seeds=[7]"],
        ["seeds=[1, 2, 30]", "curve.fractions=[0.0, 0.5, 1.0]"],
        ["pairs.pool=null", "eval.limit=3"],
        ["eval.tasks=[gsm8k, 'my tasks/a, b.yaml']"],
        ["model.checkpointing=true"],
        ["model.lora={r: 4, alpha: 8.0}"],
        ["launch={processes: 2}"],
        ["jobs={gpu: 0, mem_mb: 9000, minutes: {align: 600}}"],
        ["price={hour: 2.5, currency: EUR}"],
        ["price.currency='€ (mine), or: \"$5\" #1'"],
        ["price.currency=null-ish", "price.hour=null"],
        ["price.currency='null'"],
        ["price.currency='1e5'"],
        ["price.currency='007'"],
        ["price.currency=''"],
        ["price.currency=\"it's 'so'\""],
        ["price.currency=$HOME `id` !! \\ * ~ %"],
        ['price.currency="two\\nlines\\tand a tab"'],
        ["data={test: {review: 6}}"],
        ["arms={dpo-beta0.3: {method: dpo, beta: 0.3}}", "studies={mine: [dpo, dpo-beta0.3]}"],
        ["arms.dpo-beta0.3={method: dpo, beta: 0.3}", "studies.mine=[dpo-beta0.3]", "study=mine"],
        ["arms.dpo-v1.2.method=dpo", "arms.dpo-v1.2.lr=1e-4", "arms.dpo-v1.2.pairs.n=24"],
        ["arms={late: {base: {steps: 30}, sft: {steps: 20}, method: ipo, curve: [0, 1]}}"],
        ["arms={'null': {method: dpo}, '12': {method: dpo}}", "studies={'on': ['null', '12']}"],
        ["arms={a: {method: dpo, beta: 0.4}}", "studies={'12': [a]}", "study='12'"],
        ["arms={a: {method: dpo, beta: 0.4}}", "studies={1e5: [a]}", "study='1e5'"],
        ["arms={a: {method: dpo, beta: 0.4}}", "studies={nan: [a]}", "study='nan'"],
        ["arms.orpo-from-base.lr=2e-3", "study=origins"],
        ["study=stability", "strict=true"],
        ["methods=[my/hinge.py]"],
        ["methods=[my/hinge.py]", "hinge.beta=2", "hinge.note=a=b, {c}", "seeds=[5]"],
        ['methods=["my lab\'s: café/hinge.py"]', "hinge={lr: 2e-5}", "seeds=[5]"],
    ],
)
@pytest.mark.parametrize("testbed", ["tiny", "my lab's: café/lab.yaml"])
def test_the_pasted_command_asks_for_the_same_settings(own, testbed, overrides):
    cfg = load(testbed, overrides)
    again = load(*read(snakemake(testbed, cfg.study, overrides)))
    assert again.source == testbed
    assert again.model_dump() == cfg.model_dump()
    shown = load(*read(command(meta(cfg))))
    quiet = {"jobs", "strict"}  # no result depends on them, so no report tells them
    assert shown.model_dump(exclude=quiet) == cfg.model_dump(exclude=quiet)


def test_a_file_that_overrides_complete_keeps_its_path(own):
    overrides = ["model.hub={id: my/model, template: own}", "dpo.beta=0.3"]
    cfg = load("my lab's: café/open.yaml", overrides)
    again = load(*read(command(meta(cfg))))
    assert (again.source, again.model_dump()) == (cfg.source, cfg.model_dump())


CHOICES = {
    "dpo.lr": lambda rng: 10 ** rng.uniform(-12, 0),
    "dpo.batch": lambda rng: rng.choice([2, 4, 16]),
    "seeds": lambda rng: rng.sample(range(100), rng.randint(1, 4)),
    "launch": lambda rng: {"processes": rng.choice([1, 2])},
    "price": lambda rng: {"hour": rng.choice([None, 2, 0.5]), "currency": words(rng)},
    "model.lora": lambda rng: rng.choice([None, {"r": rng.randint(1, 8), "layers": None}]),
    "model.checkpointing": lambda rng: rng.random() < 0.5,
    "eval.tasks": lambda rng: [words(rng) for _ in range(rng.randint(0, 3))],
    "arms.late": lambda rng: {"base": {"steps": 9}, "method": "ipo", "beta": rng.random()},
    "arms.dpo-x0.3": lambda rng: {"method": "dpo", "n": rng.choice([None, 24])},
    "studies.mine": lambda rng: rng.sample(["dpo", "ppo", "ipo", "orpo"], rng.randint(1, 4)),
    "methods": lambda rng: ["my/hinge.py"],
}
ODD = "aZ09 .,:;#-_'\"\\/$`!&|<>()[]{}*?%@~^=+\n\té€日😀"
LOOK_ALIKES = ["", "null", "~", "true", "No", "1e5", "nan", "inf", "007", "1_0", "0x1f", "1:30",
               "- a", "? b", "<<", "=", "...", "---", "!x", "&x", "*x", "１２", "True", " a ",
               "2020-01-01", "base64//YQ==", "say 'hi'", "a: b", "a #b", "{a: 1}"]  # fmt: skip


def words(rng: random.Random) -> str:
    """A string that YAML, Snakemake or a shell may misread."""
    made = "".join(rng.choices(ODD, k=rng.randint(0, 12)))
    return rng.choice([made, made, rng.choice(LOOK_ALIKES)])


@pytest.mark.parametrize("seed", range(40))
def test_so_it_does_for_any_mix(own, seed):
    rng = random.Random(seed)
    keys = rng.sample(list(CHOICES), rng.randint(1, len(CHOICES)))
    overrides = [f"{key}={flow(CHOICES[key](rng))}" for key in keys]
    cfg = load("tiny", overrides)
    assert load(*read(snakemake("tiny", overrides=overrides))).model_dump() == cfg.model_dump()
    assert load(*read(command(meta(cfg)))).model_dump() == cfg.model_dump()


def anything(rng: random.Random, depth: int = 0):
    """A tree of mappings, lists and leaves."""
    kind = rng.randrange(9 if depth < 3 else 7)
    if kind == 7:
        return [anything(rng, 3) for _ in range(rng.randint(0, 3))]
    if kind == 8:
        return {f"k{i}": anything(rng, depth + 1) for i in range(rng.randint(0, 3))}
    number = rng.choice([rng.randint(-9, 10**9), 10 ** rng.uniform(-300, 300), float("-inf")])
    return [None, True, False, number, words(rng), words(rng), words(rng)][kind]


@pytest.mark.parametrize("seed", range(150))
def test_any_value_comes_back_as_it_was(seed):
    rng = random.Random(seed)
    overrides = [f"key{i}={flow(anything(rng))}" for i in range(3)]
    overrides += [f"section.a.b{i}={flow(anything(rng))}" for i in range(2)]
    testbed, found = read(snakemake("tiny", overrides=overrides))
    assert (testbed, tree(found)) == ("tiny", tree(overrides))


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_string_that_looks_like_something_else_stays_a_string(text):
    overrides = [f"key={flow(text)}", f"section.key={flow([text])}"]
    found = tree(read(snakemake("tiny", overrides=overrides))[1])
    assert found == {"key": text, "section": {"key": [text]}}


def test_it_says_no_more_than_is_needed():
    assert snakemake(DEFAULT_TESTBED) == "snakemake --cores all"
    assert (
        snakemake("tiny", "origins") == "snakemake --cores all --config testbed=tiny study=origins"
    )
    nested = snakemake("tiny", overrides=["dpo.beta=0.3", "seeds=[7]", "dpo.lr=1e-5"])
    assert nested.endswith("--config testbed=tiny 'dpo={beta: 0.3, lr: 1e-5}' 'seeds=[7]'")


def test_snakemake_plans_what_was_pasted(own):
    overrides = ["dpo.beta=0.3", "arms={dpo-x0.3: {method: dpo, lr: 1e-5}}", "seeds=[7, 8]",
                 "studies.mine=[dpo, dpo-x0.3]", "price.currency=\"it's: €, 5\""]  # fmt: skip
    text = snakemake("tiny", "mine", overrides)
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    plan = ["bash", "-c", f"{text} -n --snakefile {shlex.quote(str(REPO / 'Snakefile'))}"]
    done = subprocess.run(plan, cwd=own, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"align +4\b", done.stdout)
