"""One run: an arm with a seed, from the SFT base to an aligned model.

    python -m bench.align --testbed micro --arm dpo --seed 1

A run that diverges, or for which memory does not suffice, is a result: it writes every output with
that status and exits 0.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import cli, processes
from bench.methods import METHODS
from bench.names import pool_of
from bench.rows import file_sha256, ids_sha256, json_sha256, read_rows, spread
from bench.schema import UserError
from bench.thresholds import max_kl

CURVE_SEED = 1000  # of the sampling on held-out prompts, the same for every run


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm", required=True)
    parser.add_argument("--seed", type=int, required=True)


@dataclass
class Run:
    """What a method trains with; ``policy`` is trained in place.

    pairs, held_out: rows with prompt, chosen, rejected; reward: folder of the seed's reward model
    or None; reference: pool id -> log-probs of its two completions under the SFT base; model,
    decode: those sections of the settings. episodes, resident_models and held_out_loss are for the
    method to fill in, and so is weights, where those in ``policy`` are shards.
    """

    name: str
    settings: Any
    seed: int
    policy: Any
    tokenizer: Any
    pairs: list[dict]
    held_out: list[dict]
    sft: Path
    reward: Path | None
    scorer: Any
    reference: dict[int, dict[str, float]]
    model: Any
    decode: Any
    root: Path
    monitor: Any
    ledger: Any
    micro_batch: int | None = None
    episodes: int = 0
    resident_models: int = 1
    weights: dict | None = None
    held_out_loss: float | None = None

    def reference_logps(self, pair: dict) -> tuple[float, float]:
        """(chosen, rejected) summed log-probs under the SFT base."""
        both, side = self.reference[pair["id"]], pair["side"]
        other = {"a": "b", "b": "a"}[side]
        return both[side], both[other]


def run(cfg, args: argparse.Namespace) -> None:
    """Writes ``align/<arm>/seed<k>``: run.json, log.csv, curve.csv, samples.jsonl, model/."""
    from bench import job, trainer
    from bench.fingerprint import code_hash

    trainer.quieten()
    arm = cfg.arm(args.arm)
    job.seed_everything(args.seed)
    inputs = hashes(cfg, arm, args.seed)
    name = f"{arm.name}/seed{args.seed}"
    root = job.checkpoint_root(cfg, name, code_hash("align", arm.method, cfg.data.kind), inputs)
    with job.held(root):
        todo = prepare(cfg, arm, args.seed, root)
        status, reason = attempt(METHODS[arm.method], todo, cfg.launch.config)
        write(cfg, arm, todo, status, reason, inputs)
    cli.say(todo.name, status + (f": {reason}" if reason else ""))


def hashes(cfg, arm, seed: int) -> dict[str, str]:
    """sha256 of everything the run starts from."""
    from bench.models import weights_sha256

    found = {
        "start": weights_sha256(Path(cfg.runs, arm.start)),
        "pairs": file_sha256(Path(cfg.runs, "pairs", arm.data, f"seed{seed}.jsonl")),
    }
    needs = METHODS[arm.method].NEEDS
    if "reward" in needs:
        found["reward"] = weights_sha256(reward_folder(cfg, arm, seed))
    if "reference" in needs:
        found["reference"] = file_sha256(reference_file(cfg, arm))
    return found


def reference_file(cfg, arm) -> Path:
    """Log-probs under the SFT base of the pool that the arm's pairs come from."""
    return Path(cfg.runs, "reference", pool_of(arm.data), "logps.csv")


def reward_folder(cfg, arm, seed: int) -> Path:
    return Path(cfg.runs, "reward", arm.data, f"seed{seed}")


def prepare(cfg, arm, seed: int, root: Path) -> Run:
    """Loads what the method needs, and the monitor."""
    from bench.models import adapt, load_policy, load_scorer, load_tokenizer
    from bench.record import Ledger

    ledger, sft = Ledger(), Path(cfg.runs, "sft")
    needs = METHODS[arm.method].NEEDS
    reward = reward_folder(cfg, arm, seed) if "reward" in needs else None
    with ledger.phase("load"):
        tokenizer = load_tokenizer(sft)
        policy = adapt(load_policy(Path(cfg.runs, arm.start), cfg.model), cfg.model)
        scorer = load_scorer(reward, cfg.model).eval().requires_grad_(False) if reward else None
    name, pairs = f"{arm.name} seed {seed}", Path(cfg.runs, "pairs", arm.data)
    monitor = new_monitor(cfg, arm, name, tokenizer, scorer, ledger, root)
    ledger.memory.watched_bytes = watched_bytes(policy, monitor.measure)
    return Run(
        name=name,
        settings=arm.settings,
        seed=seed,
        policy=policy,
        tokenizer=tokenizer,
        pairs=read_rows(pairs / f"seed{seed}.jsonl"),
        held_out=held_out_rows(pairs / f"heldout{seed}.jsonl"),
        sft=sft,
        reward=reward,
        scorer=scorer,
        reference=reference_table(reference_file(cfg, arm)) if "reference" in needs else {},
        model=cfg.model,
        decode=cfg.decode,
        root=root,
        monitor=monitor,
        ledger=ledger,
        micro_batch=cfg.model.micro_batch,
    )


def held_out_rows(path: Path) -> list[dict]:
    """Pairs that the seed did not draw; none where it drew the whole pool."""
    return read_rows(path) if path.exists() and path.stat().st_size else []


def reference_table(path: Path) -> dict[int, dict[str, float]]:
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        return {int(row["id"]): {side: float(row[side]) for side in "ab"} for row in rows}


def curve_prompts(cfg) -> list[dict]:
    """The held-out prompts of the training curve: validation, families in turn."""

    rows = read_rows(Path(cfg.runs, "data", "prompts.jsonl"))
    return spread([row for row in rows if row["split"] == "validation"], cfg.curve.prompts)


def new_monitor(cfg, arm, name, tokenizer, scorer, ledger, root):
    """The monitor of a run: curve on held-out prompts, which is not charged."""
    from bench.data import world
    from bench.measure import Measure
    from bench.models import load_policy
    from bench.monitor import Monitor

    here = world(cfg.data.kind)
    with ledger.phase("curve", charged=False):
        reference = load_policy(Path(cfg.runs, "sft"), cfg.model).eval().requires_grad_(False)
        gold = here.Gold(Path(cfg.runs, "data"))
    measure = Measure(
        tokenizer,
        curve_prompts(cfg),
        gold,
        reference,
        scorer,
        cfg.decode,
        CURVE_SEED,
        cfg.curve.batch,
    )
    progress = cli.Progress(name, None)
    fractions = arm.curve or cfg.curve.fractions
    far = max_kl(cfg.decode.max_new_tokens)
    return Monitor(measure, fractions, here.TUNED_FAMILIES, ledger, progress, root, far)


def watched_bytes(policy, measure) -> int:
    """Bytes of the models that only the curve uses: its reference, a gold that is a model, and its
    copy of the reward model where the policy's own base carries that (``bench.roles.assemble``)."""
    from bench.models import unwrap

    shared = unwrap(policy) is not policy
    models = [measure.reference, *getattr(measure.gold, "models", ())]
    models += [measure.scorer] if shared and measure.scorer else []
    return sum(p.nbytes for model in models for p in model.parameters())


def attempt(method, todo: Run, launch: str = "ddp") -> tuple[str, str]:
    """(status, reason) of the training: ok, diverged, or oom; launch: how processes share it."""
    from bench.monitor import Diverged
    from bench.sampling import NoDistribution

    try:
        method.train(todo)
    except (Diverged, NoDistribution) as error:
        return "diverged", str(error)
    except (MemoryError, RuntimeError) as error:
        if not cli.lacks_memory(error):
            raise
        return "oom", out_of_memory(error, method, todo, launch)
    return "ok", ""


def out_of_memory(error: Exception, method, todo: Run, launch: str) -> str:
    """Why, and the setting that would fit; raises UserError in one of several processes, since it
    cannot tell the others, which wait for it: it ends, and so the launcher ends them all."""
    from bench.estimate.memory import advice_after

    reason = f"{cli.summary(error)}; {advice_after(method, todo, launch)}"
    if processes.count() > 1:
        raise UserError(f"process {processes.rank()} is out of memory: {reason}") from error
    return reason


def write(cfg, arm, todo: Run, status: str, reason: str, inputs: dict[str, str]) -> None:
    """All outputs of the run, by the main process; ``run.json`` last."""
    out = Path(cfg.runs, "align", arm.name, f"seed{todo.seed}")
    with todo.ledger.phase("save"):
        if processes.is_main():
            write_model(todo, out / "model", status)
    record = run_record(cfg, arm, todo, status, reason, inputs, out)
    if not processes.is_main():
        return
    cli.write_table(out / "log.csv", todo.monitor.log, ["step"])
    cli.write_table(out / "curve.csv", todo.monitor.curve, ["fraction", "step", "family"])
    cli.write_lines(out / "samples.jsonl", todo.monitor.samples)
    cli.write_json(out / "run.json", record)


def write_model(todo: Run, folder: Path, status: str) -> None:
    """The trained policy; an empty folder where training failed."""
    from bench.models import save

    with cli.atomic(folder) as part:
        part.mkdir(parents=True)
        if status == "ok":
            save(todo.policy, todo.tokenizer, part, todo.weights)


def run_record(cfg, arm, todo: Run, status, reason, inputs, out: Path) -> dict:
    """The content of ``run.json``: what the fairness contract compares, and the cost."""
    from bench.models import parameters, weights_sha256
    from bench.record import machine, versions
    from bench.text import policy_of

    trainable, total = parameters(todo.policy)
    log = todo.monitor.log
    return {
        "arm": arm.name,
        "method": arm.method,
        "seed": todo.seed,
        "labels": arm.labels,
        "data": arm.data,
        "origin": arm.start,
        "status": status,
        "reason": reason,
        "settings": arm.settings.model_dump(),
        "overrides": list(cfg.overrides),
        "hashes": inputs,
        **policy_of(todo.tokenizer),
        "decode": cfg.decode.model_dump(),
        "trainable_parameters": trainable,
        "parameters": total,
        "pairs": len(todo.pairs),
        "episodes": todo.episodes,
        "steps": log[-1]["step"] if log else 0,
        "planned_steps": todo.monitor.total,
        "trajectory_sha256": json_sha256(log),
        "held_out_loss": todo.held_out_loss,
        "resident_models": todo.resident_models,
        "cost": todo.ledger.table(),
        "generated_tokens": todo.ledger.totals("generated")["generated"],
        **todo.ledger.memory.peaks,
        "versions": versions(),
        "machine": machine(),
        "model_sha256": weights_sha256(out / "model") if status == "ok" else None,
        "curve_prompts_sha256": ids_sha256(todo.monitor.measure.prompts),
    }


if __name__ == "__main__":
    cli.main("align", run, options)
