"""Train one run: an arm with a seed, from the SFT base to an aligned model.

    python -m bench align --testbed micro --arm dpo --seed 1

A run that diverges or needs more memory than there is counts as a result: it writes all its outputs
with that status, and exits with 0.
"""

import argparse
import csv
from pathlib import Path

from bench.core import processes
from bench.core.files import (
    atomic,
    file_sha256,
    ids_sha256,
    json_sha256,
    read_rows,
    spread,
    write_lines,
    write_table,
)
from bench.core.machine import gpu_slots, is_shared
from bench.core.names import ALONE_SPLIT
from bench.core.progress import Progress, say
from bench.core.records import write_record
from bench.core.schema import UserError
from bench.core.streams import stream
from bench.core.thresholds import max_kl
from bench.methods import head_of
from bench.steps import runner
from bench.steps._picked import picked
from bench.steps.reward import load_reward
from bench.training.run import Run

CURVE_SEED = 1000  # of the sampling on validation prompts, the same for every run
HELD_OUT = 32  # pairs in a pass that measures the held-out accuracy: no more than a training's pass


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm", required=True, help="a method, or an arm of the settings")
    parser.add_argument("--seed", type=int, required=True, help="the run's seed")


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``align/<arm>/seed<k>``: run.json, log.csv, curve.csv, samples.jsonl, model/."""
    from bench.steps.fingerprint import code_hash
    from bench.training import job, trainer

    trainer.quieten()
    arm = picked(cfg.layout, cfg.arm(args.arm))
    method = cfg.known_methods[arm.method]
    job.seed_everything(args.seed)
    inputs = hashes(cfg, arm, args.seed)
    name = f"{cfg.layout.run_name(arm)}/seed{args.seed}"
    inputs["code"] = code_hash("align", method, cfg.data.kind)
    root = job.checkpoint_root(cfg, name, inputs["code"], inputs)
    todo = prepare(cfg, arm, args.seed, root)
    try:
        status, reason = attempt(method, todo, cfg.launch.config)
        if not arm.trains:
            todo.ledger.unknown("trained elsewhere")
    finally:
        todo.monitor.live.end()
    write(cfg, arm, todo, status, reason, inputs)
    job.discard(root)
    say(todo.name, status + (f": {reason}" if reason else ""))


def hashes(cfg, arm, seed: int) -> dict[str, str]:
    """Hash everything that the run starts from: {input: sha256}."""
    from bench.models.loading import weights_sha256

    needed = cfg.layout.needed(arm, seed)
    ways = dict.fromkeys(("start", "reward", "checkpoint"), weights_sha256)
    names = ("start", "pairs", *arm.needs, *cfg.layout.given(arm, seed))
    found = {name: ways.get(name, file_sha256)(needed[name]) for name in names}
    return found | ({"pick": file_sha256(cfg.layout.pick(arm))} if arm.is_picked else {})


def prepare(cfg, arm, seed: int, root: Path) -> Run:
    """Load the monitor and all that the method needs."""
    from bench.models.loading import adapt, load_policy, load_tokenizer
    from bench.training.ledger import Ledger

    ledger, needed = Ledger(), cfg.layout.needed(arm, seed)
    sft, reward = needed["sft"], needed.get("reward")
    pairs, validation = read_rows(needed["pairs"]), validation_rows(needed["validation"])
    with ledger.phase("load"):
        tokenizer = load_tokenizer(sft)
        policy = adapt(load_policy(needed["start"], cfg.model), cfg.model)
        asks = [pair["prompt"] for pair in pairs]
        scorer = load_reward(cfg, reward, tokenizer, asks) if reward else None
    name = f"{arm.name} seed {seed}"
    monitor = new_monitor(cfg, arm, name, tokenizer, scorer, ledger, root, validation)
    ledger.memory.watched_bytes = watched_bytes(policy, monitor.measure)
    return Run(
        name=name,
        settings=arm.settings,
        seed=seed,
        policy=policy,
        tokenizer=tokenizer,
        pairs=pairs,
        validation=validation,
        sft=sft,
        reward=reward,
        scorer=scorer,
        reference=reference_table(needed["reference"]) if "reference" in needed else {},
        model=cfg.model,
        decode=cfg.decode,
        root=root,
        monitor=monitor,
        ledger=ledger,
        micro_batch=cfg.model.micro_batch,
        asked=asked(cfg, arm, seed, len(pairs)),
        cuda_graph=cfg.launch.cuda_graph,
    )


def validation_rows(path: Path) -> list[dict]:
    """Read the pairs that the seed did not draw; [] if it drew the whole pool."""
    return read_rows(path) if path.exists() and path.stat().st_size else []


def asked(cfg, arm, seed: int, n: int) -> list[str] | None:
    """Draw a seed's n prompts without a pair, or all if they are fewer; None if the method does not
    sample, or the data have none."""
    if head_of(cfg.known_methods[arm.method]) != "rollout":
        return None
    rows = [row["prompt"] for row in read_rows(cfg.layout.prompts) if row["split"] == ALONE_SPLIT]
    return stream("asked", seed=seed).sample(rows, min(n, len(rows))) if rows else None


def reference_table(path: Path) -> dict[int, dict[str, float]]:
    """Read the reference log-probs: {pair id: {"a": ..., "b": ...}}."""
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        return {int(row["id"]): {side: float(row[side]) for side in "ab"} for row in rows}


def curve_prompts(cfg) -> list[dict]:
    """Read the validation prompts of the training curve, families in turn."""
    rows = read_rows(cfg.layout.prompts)
    return spread([row for row in rows if row["split"] == "validation"], cfg.curve.prompts)


def new_monitor(cfg, arm, name, tokenizer, scorer, ledger, root, validation):
    """Make a run's monitor, which measures the training curve; the run is not charged for that."""
    from bench.evaluation.samples import HeldOut, Sampler
    from bench.models.loading import load_policy
    from bench.training.live import Live, started
    from bench.training.monitor import Monitor
    from bench.worlds import world

    here = world(cfg.data.kind)
    with ledger.phase("curve", charged=False):
        reference = load_policy(cfg.layout.sft, cfg.model).eval().requires_grad_(False)
        gold = here.Gold(cfg.layout.data)
    measure = Sampler(
        tokenizer,
        curve_prompts(cfg),
        gold,
        reference,
        scorer,
        cfg.decode,
        seed=CURVE_SEED,
        batch=cfg.curve.batch,
        graph=cfg.launch.cuda_graph,
        draws=cfg.curve.draws,
    )
    progress = Progress(name, None)
    fractions = arm.curve or cfg.curve.fractions
    far = max_kl(cfg.decode.max_new_tokens)
    held_out = HeldOut(tokenizer, validation, reference, HELD_OUT)
    where = cfg.testbed, name, cfg.layout.root / "track"
    live = Live(root, started(cfg.track, *where, arm.settings.model_dump()))
    watched = (ledger, progress, root, far, held_out, live)
    return Monitor(measure, fractions, here.TUNED_FAMILIES, *watched)


def watched_bytes(policy, measure) -> int:
    """Count the bytes of models that only the training curve uses.

    These are its reference, a gold that is a model, and its copy of the reward model, if training
    itself uses an adapter on the policy's base instead (``bench.methods.ppo.roles.assemble``).
    """
    from bench.models.loading import unwrap

    shared = unwrap(policy) is not policy
    models = [measure.reference, *getattr(measure.gold, "models", ())]
    models += [measure.scorer] if shared and measure.scorer else []
    return sum(p.nbytes for model in models for p in model.parameters())


def attempt(method, todo: Run, launch: str = "ddp") -> tuple[str, str]:
    """Train; returns (status, reason). The status is ok, diverged or oom (out of memory).

    launch: how several processes share the training, ddp or fsdp.
    """
    from bench.models.sampling import NoDistribution
    from bench.training.monitor import Diverged

    try:
        method.train(todo)
    except (Diverged, NoDistribution) as error:
        return "diverged", str(error)
    except (MemoryError, RuntimeError) as error:
        if not runner.lacks_memory(error) or is_shared():
            raise  # beside other runs it is no result: the runner begins again, alone
        return "oom", out_of_memory(error, method, todo, launch)
    return "ok", ""


def out_of_memory(error: Exception, method, todo: Run, launch: str) -> str:
    """Return the reason of an out-of-memory error, with settings that would fit.

    Raises UserError if several processes train: the others wait for this one, and cannot be told.
    The launcher ends them when this one fails.
    """
    from bench.estimate.memory import advice_after

    reason = f"{runner.summary(error)}; {advice_after(method, todo, launch)}"
    if processes.count() > 1:
        raise UserError(f"process {processes.rank()} is out of memory: {reason}") from error
    return reason


def write(cfg, arm, todo: Run, status: str, reason: str, inputs: dict[str, str]) -> None:
    """Write all outputs of the run from the main process, ``run.json`` last."""
    files = cfg.layout.run(arm, todo.seed)
    with todo.ledger.phase("save"):
        if processes.is_main():
            write_model(todo, files.model, status)
    record = run_record(cfg, arm, todo, status, reason, inputs, files)
    if not processes.is_main():
        return
    write_table(files.log, todo.monitor.log, ["step"])
    write_table(files.curve, todo.monitor.curve, ["fraction", "step", "family"])
    write_lines(files.samples, todo.monitor.samples)
    write_record(files.record, record, files.written)


def write_model(todo: Run, folder: Path, status: str) -> None:
    """Save the trained policy; leave the folder empty if training failed."""
    from bench.models.loading import save

    with atomic(folder) as part:
        part.mkdir(parents=True)
        if status == "ok":
            save(todo.policy, todo.tokenizer, part, todo.weights)


def run_record(cfg, arm, todo: Run, status, reason, inputs, files) -> dict:
    """Return the content of ``run.json``: what the fairness contract compares, and the cost."""
    from bench.models.loading import parameters, weights_sha256
    from bench.models.tokens import policy_of
    from bench.training.ledger import machine, versions

    trainable, total = parameters(todo.policy)
    log = todo.monitor.log
    return {
        "arm": arm.name,
        "method": arm.method,
        "seed": todo.seed,
        "preference": arm.preference,
        "label_set": arm.label_set,
        "start": arm.start,
        "base": cfg.layout.names("sft"),
        "drawn_from": cfg.layout.names("pairs"),
        "reward_model": cfg.layout.names("reward", arm.rewarded),
        "status": status,
        "reason": reason,
        "settings": arm.settings.model_dump(),
        "overrides": list(cfg.overrides),
        "hashes": inputs,
        **policy_of(todo.tokenizer),
        "decode": cfg.decode.model_dump(),
        "trainable_parameters": trainable if arm.trains else None,
        "parameters": total,
        "pairs": len(todo.pairs),
        "asked_alone": len(todo.asked or ()),
        "episodes": todo.episodes,
        "steps": sum(row.get("inner_steps", 1) for row in log),
        "trajectory_sha256": json_sha256(log),
        "validation_loss": todo.validation_loss,
        "resident_models": todo.resident_models,
        "cost": todo.ledger.table(),
        "cuda_graph": cfg.launch.cuda_graph and todo.policy.device.type == "cuda",
        "generated_tokens": todo.ledger.totals("generated")["generated"],
        **todo.ledger.memory.peaks,
        "versions": versions(),
        "machine": machine(),
        "gpu_slots": gpu_slots(),
        "model_sha256": weights_sha256(files.model) if status == "ok" else None,
        "curve_prompts_sha256": ids_sha256(todo.monitor.measure.prompts),
    }
