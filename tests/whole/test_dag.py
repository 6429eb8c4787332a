"""The real DAG, end to end at a tiny scale, in a temporary folder; and what reruns after a change.

Nothing here touches the repository's runs/ or reports/.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bench.core.files import read_rows
from bench.core.names import POOL
from bench.methods import FIRST
from bench.settings.overrides import flow
from bench.studies import load

REPO = Path(__file__).parents[2]
SEEDS = (1, 2)


def snakemake(where, *words, config=(), snakefile=REPO / "Snakefile", check=True):
    """Runs snakemake on the testbed tiny with ``where`` as the working directory."""
    config = ["--config", "testbed=tiny", *config]
    command = [sys.executable, "-m", "snakemake", "-s", snakefile, "--cores", "2", *words, *config]
    env = os.environ | {"PYTHONPATH": str(Path(snakefile).parent)}
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, env=env, check=False)
    if check:
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the whole default study has run on tiny."""
    where = tmp_path_factory.mktemp("dag")
    snakemake(where)
    return where


def run_json(where, arm, seed) -> dict:
    return json.loads((where / f"runs/tiny/align/{arm}/seed{seed}/run.json").read_text())


def planned(done) -> dict[str, int]:
    """Rule -> number of jobs, from a dry run's table."""
    lines = (done.stdout + done.stderr).split("Job stats:")[-1].splitlines()
    pairs = [line.split() for line in lines if len(line.split()) == 2]
    return {name: int(n) for name, n in pairs if n.isdigit() and name != "total"}


def test_every_run_ends_with_a_result_and_a_page(finished):
    results = finished / "runs/tiny/results"
    runs = pd.read_csv(results / "runs.csv")
    assert set(zip(runs.arm, runs.seed, strict=True)) == {(a, s) for a in FIRST for s in SEEDS}
    assert set(runs.status) == {"ok"}
    assert pd.read_csv(results / "prompts.csv").gold.notna().all()
    assert "<svg" in (finished / "runs/tiny/report/index.html").read_text()
    written = json.loads((finished / "runs/tiny/report.json").read_text())
    assert written


def test_steps_were_forked_from_one_process_that_imported_the_libraries(finished):
    rows = json.loads((finished / "runs/tiny/overhead.json").read_text())
    assert [row["step"] for row in rows] == ["snakemake", "imports"]
    assert all(0 < row["cpu_s"] <= row["wall_s"] * 2 for row in rows)
    ledger = pd.read_csv(finished / "runs/tiny/results/ledger.csv").set_index("step")
    assert set(ledger.loc[["snakemake", "imports"]].processes) == {1}


def test_a_cold_step_gives_the_same_to_the_last_bit(finished, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    for arm in ("dpo", "ppo"):
        shutil.rmtree(tmp_path / f"runs/tiny/align/{arm}/seed1")
    paths = [f"runs/tiny/align/{arm}/seed1/run.json" for arm in ("dpo", "ppo")]
    snakemake(tmp_path, *paths, config=["jobs={warm: false}"])
    for path in paths:
        cold, warm = (json.loads((where / path).read_text()) for where in (tmp_path, finished))
        for key in ("trajectory_sha256", "model_sha256", "hashes"):
            assert cold[key] == warm[key], (path, key)


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in "".join(snakemake(finished).stderr)


def test_snakemakes_own_report_holds_the_page_and_each_figure_with_its_caption(finished):
    snakemake(finished, "--report", "own.zip")
    figures = json.loads((finished / "runs/tiny/report/figures.json").read_text())
    with zipfile.ZipFile(finished / "own.zip") as archive:
        files = {Path(name).name for name in archive.namelist()}
        page = archive.read("own/report.html").decode()
    drawn = {f"{name}.svg" for name in figures}
    assert drawn and files == {"report.html", "index.html", "results.csv"} | drawn
    results, categories = (embedded(page, name) for name in ("results", "categories"))
    for name, figure in figures.items():
        path = f"runs/tiny/report/figures/{name}.svg"
        assert path in categories[figure["category"]]["Other"]
        assert results[path]["labels"] == {"figure": figure["title"]}
        assert unescape(re.sub("<.*?>", "", results[path]["caption"])).strip() == figure["caption"]


def embedded(page: str, name: str):
    """What a script of Snakemake's report assigns to a variable."""
    script = page.split(f'<script id="{name}">')[1]
    return json.JSONDecoder().raw_decode(script.split(" = ", 1)[1])[0]


def test_seeds_differ_and_their_curves_start_from_the_same_model(finished):
    for arm in FIRST:
        logs = [
            pd.read_csv(finished / f"runs/tiny/align/{arm}/seed{seed}/log.csv") for seed in SEEDS
        ]
        assert logs[0].loss.tolist() != logs[1].loss.tolist()
        runs = [run_json(finished, arm, seed) for seed in SEEDS]
        assert runs[0]["hashes"]["start"] == runs[1]["hashes"]["start"]
        assert runs[0]["hashes"]["pairs"] != runs[1]["hashes"]["pairs"]


def test_within_a_seed_all_methods_have_the_same_start_pairs_and_prompts(finished):
    for seed in SEEDS:
        runs = [run_json(finished, arm, seed) for arm in FIRST]
        for get in (
            lambda r: r["hashes"]["start"],
            lambda r: r["hashes"]["pairs"],
            lambda r: r["trainable_parameters"],
            lambda r: r["curve_prompts_sha256"],
            lambda r: r["template"] + r["eos"],
        ):
            assert len({get(run) for run in runs}) == 1


@pytest.mark.parametrize("arm", FIRST)
def test_the_same_seed_gives_the_same_trajectory(finished, tmp_path, arm):
    """The step's own command, typed again in a copy, writes the same log and curve."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    folder = tmp_path / f"runs/tiny/align/{arm}/seed1"
    before = trajectory(folder)
    shutil.rmtree(folder)
    align(tmp_path, arm)
    assert trajectory(folder) == before


def trajectory(folder) -> dict[str, str]:
    """log.csv and curve.csv, but for the seconds."""
    tables = {name: pd.read_csv(folder / name, dtype=str) for name in ("log.csv", "curve.csv")}
    tables["curve.csv"] = tables["curve.csv"].drop(columns=["wall_s", "cpu_s"])
    return {name: table.to_csv() for name, table in tables.items()}


@pytest.mark.parametrize("arm", FIRST)
def test_a_run_books_its_work_by_phase(finished, arm):
    run = run_json(finished, arm, 1)
    charged = [row for row in run["cost"] if row["charged"]]
    working = {row["phase"] for row in charged if row["flops"]}
    ppo = {"rollout", "score", "reference", "update"}
    assert working == (ppo if arm == "ppo" else {"train"})
    assert (run["generated_tokens"] > 0) == (arm == "ppo")
    assert run["peak_mb"] > 0 and "peak_reserved_mb" in run
    curve = pd.read_csv(finished / f"runs/tiny/align/{arm}/seed1/curve.csv")
    assert curve.flops.is_monotonic_increasing and curve.flops.iloc[0] == 0
    assert curve.flops.iloc[-1] == pytest.approx(sum(row["flops"] for row in charged))


@pytest.mark.parametrize("arm", FIRST)
def test_the_phases_of_a_run_add_up_to_its_process(finished, arm):
    """Within 3 %, imports and what is not charged included."""
    for seed in SEEDS:
        booked = sum(row["cpu_s"] for row in run_json(finished, arm, seed)["cost"])
        process = json.loads(
            (finished / f"runs/tiny/ledger/align-{arm}-seed{seed}.json").read_text()
        )
        assert booked == pytest.approx(process["cpu_s"], rel=0.03)


def test_the_contract_has_no_breach_and_names_one(finished, tmp_path):
    study = json.loads((finished / "runs/tiny/contract.json").read_text())
    assert study["runs"] == len(FIRST) * len(SEEDS) and study["breaches"] == []
    shutil.copytree(finished / "runs", tmp_path / "runs")
    path = tmp_path / "runs/tiny/align/dpo/seed1/run.json"
    path.write_text(path.read_text().replace('"pairs": 48', '"pairs": 47'))
    command = [sys.executable, "-m", "bench", "contract", "--testbed", "tiny"]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    command += ["--set", "strict=true"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pairs must match" in done.stderr and "dpo seed 1: 47" in done.stderr


def test_a_search_picks_settings_for_every_method(finished):
    snakemake(finished, config=["study=tune", "tune={trials: 1}"])
    layout = load("tiny", ["study=tune", "tune.trials=1"]).layout
    layer = yaml.safe_load((finished / layout.tuned).read_text())
    assert {m: layer["provenance"]["methods"][m]["trials"] for m in FIRST} == dict.fromkeys(
        FIRST, 1
    )
    page = (finished / layout.report / "index.html").read_text()
    assert "What k trials are worth" in page and "<svg" in page
    best = layer["finals"]["candidates"]["dpo"]
    again = ["study=finals", f"finals={flow({'candidates': {'dpo': best}, 'seeds': [101]})}"]
    again.append(f"provenance={flow(layer['provenance'])}")
    snakemake(finished, config=again)
    layout = load("tiny", again).layout
    layer = yaml.safe_load((finished / layout.tuned).read_text())
    assert layer["dpo"]["lr"] == best[0]["lr"] and layer["dpo"]["decay"] in (0, 0.5)


def test_other_bases_are_trained_beside_the_testbed_s_own(finished):
    config = ["study=bases", "bases={n: 3, seeds: [1]}"]
    plan = planned(snakemake(finished, "-n", config=config))
    assert (plan["sft"], plan["base"], plan["pool"]) == (2, 2, 2)
    assert plan["align"] == 2 * len(FIRST)  # from the testbed's own they are there


def test_a_claim_is_written_down_tested_and_decided(finished):
    """ORPO from the base on twin demonstrations, against SFT on the chosen ones and then DPO."""
    config = ["claims={only: [C8], bases: 2}"]
    snakemake(finished, "claims", config=config)
    cfg = load("tiny", ["study=claims", *config])
    meta = json.loads((finished / cfg.layout.results / "meta.json").read_text())
    assert meta["noted"]["C8"]["time"] and meta["noted"]["C8"]["later"] == []
    assert meta["breaches"] == [] and set(meta["picks"]) == {"orpo-twins", "dpo-twins"}
    assert {arm["name"] for arm in meta["arms"]} == {
        f"{c}{n}" for c in ("orpo-twins", "dpo-twins") for n in ("", "-sft2")
    }
    table = pd.read_csv(finished / cfg.layout.report / "results.csv")
    assert table.claim.tolist() == ["C8"] and table.units.tolist() == [2]
    twins = {row["id"]: row for row in read_rows(finished / cfg.layout.data / "twins.jsonl")}
    for row in read_rows(finished / cfg.layout.pairs("twins", 1)):
        pair = twins[row["id"]]
        assert row["chosen"] == pair["a" if pair["p"]["twins"] else "b"]


def test_models_of_another_size_are_trained_beside_the_testbed_s_own(finished):
    small = "{small: {rate: 2, model: {hidden: 16}}}"
    config = ["study=sizes", f"sizes={{models: {small}, lr: [1, 30], seeds: [1, 2]}}"]
    snakemake(finished, config=config)
    cfg = load("tiny", config)
    sizes = {
        arm: json.loads((finished / cfg.member(arm, 1).files.record).read_text())["parameters"]
        for arm in ("dpo", "dpo-small", "ppo-small")
    }
    assert sizes["dpo"] > 1.5 * sizes["dpo-small"] and sizes["dpo-small"] == sizes["ppo-small"]
    assert json.loads((finished / cfg.layout.contract).read_text())["breaches"] == []
    table = pd.read_csv(finished / cfg.layout.report / "results.csv")
    assert set(table.parameters) == {sizes["dpo"], sizes["dpo-small"]}
    member = cfg.member("ppo-small", 1)
    pick = json.loads((finished / member.layout.pick(member.arm)).read_text())
    best = max(pick["candidates"].values(), key=lambda tried: sum(tried["gains"]))
    run = json.loads((finished / member.files.record).read_text())
    assert set(pick["candidates"]) == {"own", "lrx30"} and pick["seeds"] == [111, 112]
    assert run["settings"] == best["settings"] and "pick" in run["hashes"]
    assert not (finished / cfg.layout.root / "evaluate/ppo-small-try-own").exists()


def test_pairs_that_another_base_writes_are_read_by_runs_from_the_testbed_s_own(finished):
    hasty, off = "{method: dpo, sft: {steps: 4}}", "{method: dpo, pairs: {writer: hasty}}"
    arms = f"arms={{hasty: {hasty}, dpo-off: {off}}}"
    config = ["study=mine", arms, "studies={mine: [dpo, dpo-off]}", "seeds=[1]"]
    snakemake(finished, config=config)
    cfg = load("tiny", config)
    usual, off = cfg.of("dpo").layout, cfg.of("dpo-off").layout
    run = json.loads((finished / off.run(cfg.arm("dpo-off"), 1).record).read_text())
    assert run["base"] == "sft" and run["drawn_from"] == off.names("pairs") != "pairs"
    assert off.writer == cfg.of("hasty").layout.sft != usual.writer == usual.sft
    texts = [{row["a"] for row in read_rows(finished / x.pool(POOL))} for x in (usual, off)]
    assert len(texts[0] & texts[1]) < len(texts[1]) / 2
    assert json.loads((finished / cfg.layout.contract).read_text())["breaches"] == []


def test_a_grid_around_the_settings_shares_its_centre_with_the_comparison(finished):
    small = ["study=stability", "stability={lr: [1, 3], beta: [1], own: [1], seeds: [1]}"]
    changed = [
        "study=stability",
        *(f"stability.{s}" for s in ("lr=[1,3]", "beta=[1]", "own=[1]", "seeds=[1]")),
    ]
    before = run_json(finished, "dpo", 1)
    assert planned(snakemake(finished, "-n", config=small))["align"] == len(FIRST)
    snakemake(finished, config=small)
    assert run_json(finished, "dpo", 1) == before
    cells = pd.read_csv(finished / load("tiny", changed).layout.report / "results.csv")
    assert len(cells) == 2 * len(FIRST) and set(cells.lr) == {1, 3}
    assert not (finished / "runs/tiny/evaluate/dpo-lrx3").exists()


def place(arm, *overrides):
    """Where seed 1 of an arm lies under these overrides."""
    return load("tiny", overrides).member(arm, 1).files


def align(where, arm, *words, check=True):
    command = [sys.executable, "-m", "bench", "align", "--testbed", "tiny", "--arm", arm]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    command += ["--seed", "1", *words]
    return subprocess.run(command, cwd=where, env=env, check=check, capture_output=True, text=True)


def test_an_override_reaches_the_training_step(finished):
    done = snakemake(finished, "-n", "-p", config=["dpo={lr: 1e-9}"])
    assert planned(done)["align"] == len(SEEDS)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "bench align" in line]
    assert lines and all("--set dpo.lr=1" in line for line in lines)


def test_a_run_that_diverges_is_a_result(finished, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    done = align(tmp_path, "dpo", "--set", "dpo.lr=1e30", "--set", "dpo.warmup=0")
    files = place("dpo", "dpo.lr=1e30", "dpo.warmup=0")
    run = json.loads((tmp_path / files.record).read_text())
    assert run["status"] == "diverged", done.stderr
    assert run["reason"] and run["settings"]["lr"] == 1e30
    assert "dpo.lr=1.0e+30" in run["overrides"]
    assert (tmp_path / files.model).is_dir() and (tmp_path / files.log).is_file()


def test_an_override_leaves_the_run_of_the_testbed_s_settings_alone(finished, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    before = run_json(tmp_path, "dpo", 1)
    align(tmp_path, "dpo", "--set", "dpo.beta=0.3")
    assert run_json(tmp_path, "dpo", 1) == before
    beside = json.loads((tmp_path / place("dpo", "dpo.beta=0.3").record).read_text())
    assert beside["settings"]["beta"] == 0.3 != before["settings"]["beta"]
    assert beside["hashes"] == before["hashes"]


@pytest.mark.parametrize("arm", ["dpo", "ppo"])
def test_a_killed_run_resumes_to_the_same_result(finished, tmp_path, arm):
    """kill -9 after its first checkpoint, then the same command: the uninterrupted result."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    options = ["--set", f"{arm}.epochs=6"]
    folder = tmp_path / place(arm, f"{arm}.epochs=6").folder
    align(tmp_path, arm, *options)
    whole = trajectory(folder)
    shutil.rmtree(folder)
    kill_after_a_checkpoint(tmp_path, arm, *options)
    assert not folder.exists()
    assert "resuming from" in align(tmp_path, arm, *options).stderr
    assert trajectory(folder) == whole
    assert not list((tmp_path / "runs/tiny/checkpoints").rglob("checkpoint-*"))


def kill_after_a_checkpoint(where, arm, *options):
    """Starts a run and ends it with SIGKILL once a checkpoint is sealed."""
    command = [sys.executable, "-m", "bench", "align", "--testbed", "tiny", "--arm", arm]
    command += ["--seed", "1", *options]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    run = subprocess.Popen(command, cwd=where, env=env, stderr=subprocess.DEVNULL)
    root = where / "runs/tiny/checkpoints"
    while run.poll() is None and not list(root.rglob("checkpoint-*/manifest.json")):
        time.sleep(0.001)
    run.kill()
    assert run.wait() == -signal.SIGKILL


@pytest.fixture
def clone(finished, tmp_path):
    """A copy of the repository's code, and the finished runs with Snakemake's memory of them."""
    shutil.copytree(REPO / "bench", tmp_path / "repo/bench")
    shutil.copy(REPO / "Snakefile", tmp_path / "repo")
    shutil.copytree(finished, tmp_path / "work", symlinks=True)
    for other in (tmp_path / "work/runs/tiny").glob("study-*"):
        shutil.rmtree(other)  # results of other studies are inputs of the report
    return tmp_path


def plan_after(clone, name, old, new) -> dict[str, int]:
    path = clone / "repo/bench" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    done = snakemake(clone / "work", "-n", snakefile=clone / "repo/Snakefile")
    return planned(done)


def test_editing_dpo_reruns_dpo_and_what_follows(clone):
    plan = plan_after(clone, "methods/dpo.py", "return -logsigmoid(", "return logsigmoid(")
    last = {"contract": 1, "collect": 1, "report": 1, "all": 1}
    assert plan == {"align": 2, "evaluate": 2} | last


def test_a_comment_retrains_nothing(clone):
    assert plan_after(clone, "methods/dpo.py", "NEEDS =", "# why\nNEEDS =") == {}


def test_a_fresh_clone_plans_every_run(tmp_path):
    """As cloned from git, with whatever reports are committed."""
    if not (REPO / ".git").exists():
        pytest.skip("not a git checkout")
    subprocess.run(["git", "clone", "-q", REPO, tmp_path / "clone"], check=True)
    clone = tmp_path / "clone"
    done = snakemake(clone, "-n", snakefile=clone / "Snakefile")
    assert planned(done)["align"] == len(FIRST) * len(SEEDS)
    assert planned(done)["report"] == 1


def test_the_page_is_made_again_when_a_table_of_a_companion_changes(tmp_path):
    beside = tmp_path / "runs/tiny/study-views/results"
    beside.mkdir(parents=True)
    assert "study-views" not in snakemake(tmp_path, "-n", "report").stdout  # not finished
    for name in ("meta.json", "curve.csv", ".runs.csv.part1"):
        (beside / name).write_text("{}")
    said = snakemake(tmp_path, "-n", "report").stdout
    assert "study-views/results/meta.json" in said and "study-views/results/curve.csv" in said
    assert ".part1" not in said


def test_the_blog_kit_is_made_where_it_is_asked_for(tmp_path):
    assert "blog" not in planned(snakemake(tmp_path, "-n"))
    assert planned(snakemake(tmp_path, "-n", "blog"))["blog"] == 1


def asked(done, rule) -> dict[str, str]:
    """Resources of a rule's first job in a dry run."""
    job = re.search(rf"rule {rule}:(?:\n    .*)*?\n    resources: (.*)", done.stdout + done.stderr)
    return dict(item.split("=") for item in job[1].split(", "))


@pytest.mark.parametrize("rule", ["sft", "pool", "reward", "reference", "align", "evaluate"])
def test_a_cluster_is_asked_for_what_the_testbed_says(plan_of_reviews, rule):
    resources = asked(plan_of_reviews, rule)
    minutes = {"align": "90"}.get(rule, "30")
    assert [resources[key] for key in ("gpu", "mem_mb", "runtime")] == ["1", "6000", minutes]


@pytest.fixture(scope="module")
def plan_of_reviews(tmp_path_factory):
    config = ["testbed=reviews", "jobs={minutes: {align: 90}}"]
    return snakemake(tmp_path_factory.mktemp("plan"), "-n", "--jobs", "9", config=config)


def test_the_pod_s_command_plans_the_whole_study(tmp_path):
    folder = REPO / "bench/profiles/kubernetes"
    pod = yaml.safe_load((folder / "job.yaml").read_text())["spec"]["template"]["spec"]
    command = pod["containers"][0]["args"][0].partition(" && ")[2].split()
    assert command[:3] == ["snakemake", "--workflow-profile", "bench/profiles/kubernetes"]
    done = snakemake(tmp_path, "-n", "--workflow-profile", folder)
    assert planned(done)["align"] == len(FIRST) * len(SEEDS)


def test_a_study_may_be_called_as_the_value_of_an_option_is(tmp_path):
    done = snakemake(tmp_path, "-n", "--cores", "all", config=["study=all", "studies={all: [dpo]}"])
    assert planned(done)["align"] == len(SEEDS)


@pytest.mark.parametrize(
    "words,config,hint",
    [
        ((), ["testbed=tinny"], "did you mean 'tiny'"),
        ((), ["dpo={lrr: 3}"], "did you mean 'dpo.lr'"),
        (("tune",), (), "tune is a study, no target: add study=tune to --config instead"),
        (("views",), (), "views is a study, no target"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path, words, config, hint):
    done = snakemake(tmp_path, "-n", *words, config=config, check=False)
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode != 0
    assert any(hint in line for line in lines) and "Traceback" not in done.stderr


# verify


def verify(where, *words):
    """(exit code, last line of stderr) of `python -m bench verify`."""
    command = [sys.executable, "-m", "bench", "verify", "--testbed", "tiny", *words]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def of_another(path: Path) -> None:
    """Put the second seed's file in the place of the first one's."""
    other = Path(str(path).replace("seed1", "seed2"))
    shutil.copy(other, path)


def edited(path: Path) -> None:
    path.write_text(path.read_text().replace("1", "2", 1))


@pytest.mark.parametrize(
    "name,damage",
    [
        ("align/dpo/seed1/model/model.safetensors", of_another),
        ("align/dpo/seed1/run.json", of_another),
        ("sft/model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")),
        ("pairs/gold/seed1.jsonl", of_another),
        ("reward/gold/seed1/model.safetensors", of_another),
        ("reference/pool/logps.csv", edited),
        ("evaluate/dpo/seed1/prompts.csv", of_another),
        ("results/cost.csv", edited),
        ("results/meta.json", edited),
        ("report/results.csv", edited),
        ("report/figures/card.png", lambda path: path.unlink()),
        ("report/evidence/manifest.json", edited),
        ("report.json", lambda path: path.write_text("{}")),
    ],
)
def test_verify_names_what_is_not_as_written(finished, tmp_path, name, damage):
    shutil.copytree(finished / "runs", tmp_path / "runs", symlinks=True)
    damage(tmp_path / "runs/tiny" / name)
    code, line = verify(tmp_path)
    assert code == 1 and line.startswith("error: ")
    part = name.removesuffix("/model.safetensors").removeprefix("report/evidence/")
    assert part.removeprefix("results/") in line


def test_verify_finds_a_whole_study_as_written(finished):
    code, line = verify(finished)
    assert code == 0 and line.endswith("are as they were written")


def test_a_run_is_trained_again_and_compared(finished, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs", symlinks=True)
    before = json.loads((tmp_path / "runs/tiny/align/dpo/seed1/run.json").read_text())
    code, line = verify(tmp_path, "--rerun", "dpo/seed1")
    assert code == 0 and f"weights {before['model_sha256'][:12]}" in line
    (tmp_path / "runs/tiny/align/dpo/seed1/curve.csv").write_text("fraction,gold\n0,1\n")
    code, line = verify(tmp_path, "--rerun", "dpo/seed1")
    assert code == 1 and "is not the same in curve.csv" in line
    assert "no run of the study" in verify(tmp_path, "--rerun", "dpo/seed9")[1]
    assert not list((tmp_path / "runs/tiny/checkpoints").rglob("checkpoint-*"))
