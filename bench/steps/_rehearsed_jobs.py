"""Rehearse single jobs of a study, each in a process of its own; the step `rehearse` starts them.

The code that trains, samples and measures is that of the steps and methods themselves; the texts it
gets, the clock, and what it finds in place of the study's files are in `_rehearsal`.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import parent_process
from pathlib import Path
from statistics import mean
from typing import Any

from bench.core.files import write_json, write_lines, write_text
from bench.core.schema import UserError
from bench.estimate import memory, shapes, stand_ins, workload
from bench.steps import runner
from bench.steps._rehearsal import PASSES, Rehearsal, Task, costs, stopwatch, threads, tidy

HELD = 32  # validation pairs whose loss is timed


def build(rehearsal: Rehearsal) -> dict[str, Any]:
    """Write the models and the gold that stand in for the study's; return the device."""
    import torch

    from bench.models.loading import adapt, load_scorer, load_tokenizer, pick_device, save
    from bench.steps.reward import new_scorer

    cfg, out = rehearsal.cfg, rehearsal.cfg.layout
    device = torch.device(pick_device(cfg.model.device))
    made = policy_config(rehearsal)
    stand_ins.write_policy(made, cfg.model.dtype, device, out.base)
    out.sft.symlink_to(out.base)
    scorer = adapt(new_scorer(load_scorer(out.sft, cfg.model)), cfg.model, "SEQ_CLS")
    save(scorer, load_tokenizer(out.sft), out.root / "scorer")
    write_gold(rehearsal, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"gpu": name, "there": memory.device_bytes(device)}


def policy_config(rehearsal: Rehearsal):
    """Return the configuration of the policy: its own if it is here, else of its shape."""
    real, found = rehearsal.real, rehearsal.task.found
    own = shapes.config_of(real.model.hub) if real.model.hub else None
    longest = found.prompt + max(found.answer, real.decode.max_new_tokens)
    longest = max(longest, *(tokens + made for _, _, tokens, made in workload.TASKS.values()))
    context = max(real.model.context, longest)
    return stand_ins.config(rehearsal.task.shape, rehearsal.task.tied, context, own)


def write_gold(rehearsal: Rehearsal, device) -> None:
    """Write gold: a model of random weights if it is a model, else a rule that takes no time."""
    from bench.worlds.hub.gold import OWN, GoldModel, keep

    folder, source = rehearsal.cfg.layout.data, getattr(rehearsal.real.data, "gold", None)
    folder.mkdir(parents=True)
    if source is None or not source.id:
        (folder / OWN).write_text(stand_ins.NO_GOLD)
        return
    shape, tied, _ = shapes.of_source(source)
    made = stand_ins.config(shape, tied, 8192, shapes.config_of(source))
    dtype = "bfloat16" if device.type == "cuda" else "float32"
    stand_ins.write_scorer(made, dtype, device, folder / "model")
    keep(GoldModel(id=str(folder / "model"), batch=source.batch), folder)


def base(rehearsal: Rehearsal) -> dict[str, float]:
    """Pretrain."""
    from bench.models.loading import load_policy, load_tokenizer
    from bench.steps.base import base_trainer

    cfg, width = rehearsal.cfg, rehearsal.cfg.model.context
    with rehearsal.ledger.phase("load"):
        model = load_policy(cfg.layout.base, cfg.model)

    def rows(n: int, longest: bool) -> list[dict]:
        ids = [[i % rehearsal.task.shape.vocabulary for i in range(k, k + width)] for k in range(n)]
        return [{"input_ids": row, "labels": row} for row in ids]

    tokenizer = load_tokenizer(cfg.layout.base)
    return rehearsal.fitted(cfg.base, model, tokenizer, rows, base_trainer, "full")


def sft(rehearsal: Rehearsal) -> dict[str, float]:
    """Fine-tune on demonstrations."""
    from bench.models.loading import adapt, load_policy, load_tokenizer
    from bench.steps.sft import tokenised
    from bench.training.answer_trainer import DemonstrationTrainer

    cfg = rehearsal.cfg
    with rehearsal.ledger.phase("load"):
        model = adapt(load_policy(cfg.layout.base, cfg.model), cfg.model)
    tokenizer = load_tokenizer(cfg.layout.base)

    def rows(n: int, longest: bool) -> list[dict]:
        return tokenised(tokenizer, rehearsal.texts(n, longest))

    return rehearsal.fitted(cfg.sft, model, tokenizer, rows, DemonstrationTrainer, "answer")


def reward(rehearsal: Rehearsal) -> dict[str, float]:
    """Train a reward model, and let it order pairs."""
    from bench.models.loading import adapt, load_scorer, load_tokenizer
    from bench.steps.reward import BATCH, new_scorer, reward_trainer, scores, tokenised

    cfg = rehearsal.cfg
    with rehearsal.ledger.phase("load"):
        scorer = new_scorer(load_scorer(cfg.layout.sft, cfg.model))
        model = adapt(scorer, cfg.model, "SEQ_CLS")
    tokenizer, batch = load_tokenizer(cfg.layout.sft), cfg.model.micro_batch or BATCH

    def rows(n: int, longest: bool) -> list[dict]:
        return tokenised(tokenizer, rehearsal.texts(n, longest))

    def check(pairs: list[dict]) -> None:
        for side in "ab":
            scores(model, tokenizer, pairs, side, batch)

    found = rehearsal.fitted(cfg.reward, model, tokenizer, rows, reward_trainer, "scalar")
    if rehearsal.task.times["check"]:
        found["check"] = rehearsal.timed("check", batch, check)
    return found


def pool(rehearsal: Rehearsal) -> dict[str, float]:
    """Sample answers to prompts, if pairs are not given, and score them with gold."""
    from bench.steps.pairs import texts
    from bench.worlds import hub

    cfg, found, batch = rehearsal.cfg, {}, rehearsal.cfg.pairs.batch
    if "sample" in rehearsal.task.times:
        model, tokenizer, generator = drawing(rehearsal)

        def draw(rows: list[dict]) -> None:
            texts(cfg, model, tokenizer, rows, generator, rehearsal.ledger, ended=False)

        found["sample"] = rehearsal.timed("sample", batch, draw)
    if "gold" in rehearsal.task.times:
        gold = hub.Gold(cfg.layout.data)
        found["gold"] = rehearsal.timed(
            "gold", batch, lambda rows: gold(rows, [row["a"] for row in rows])
        )
    return found


def drawing(rehearsal: Rehearsal) -> tuple:
    """Load the SFT base, its tokenizer and a generator, as the step ``pairs`` does."""
    import torch

    from bench.models.loading import load_policy, load_tokenizer

    cfg = rehearsal.cfg
    with rehearsal.ledger.phase("load"):
        model = load_policy(cfg.layout.sft, cfg.model)
    generator = torch.Generator(model.device).manual_seed(cfg.pairs.seed)
    return model, load_tokenizer(cfg.layout.sft), generator


def reference(rehearsal: Rehearsal) -> dict[str, float]:
    """Compute log-probs of a batch of pairs under the SFT base."""
    from bench.steps.reference import logps
    from bench.training.batches import REFERENCE_BATCH

    model, tokenizer, _ = drawing(rehearsal)
    batch = rehearsal.cfg.model.micro_batch or REFERENCE_BATCH

    def read(rows: list[dict]) -> None:
        logps(model, tokenizer, rows, rehearsal.ledger, batch)

    return {"reference": rehearsal.timed("reference", batch, read)}


def evaluation(rehearsal: Rehearsal) -> dict[str, float]:
    """Answer a batch of test prompts and measure the answers."""
    from bench.models.loading import adapt, load_policy, load_tokenizer
    from bench.steps.evaluate import new_sampler

    cfg, arm = rehearsal.cfg, rehearsal.cfg.arm(rehearsal.task.of) if rehearsal.task.of else None
    tokenizer = load_tokenizer(cfg.layout.sft)
    with rehearsal.ledger.phase("load"):
        policy = load_policy(cfg.layout.sft, cfg.model)
        if arm and cfg.model.lora and cfg.model.dtype != "float32":  # else merged, as when loaded
            policy = adapt(policy, cfg.model)
        write_inputs(rehearsal, arm)
        policy = policy.eval().requires_grad_(False)
        measure = new_sampler(cfg, arm, 1, tokenizer)
    found = {"measure": measured(rehearsal, measure, policy)}
    return found | harnessed(rehearsal, policy, tokenizer)


def harnessed(rehearsal: Rehearsal, policy, tokenizer) -> dict[str, float]:
    """Return the seconds that lm-eval takes for a made-up text of each task."""
    from lm_eval.api.instance import Instance

    from bench.evaluation.harness import harness_model, quiet_stderr

    found, tasks = {}, [name for name in rehearsal.task.times if name in workload.TASKS]
    model = harness_model(rehearsal.cfg, policy, tokenizer) if tasks else None
    for name in tasks:
        _, _, tokens, made = workload.TASKS[name]
        n = min(rehearsal.cfg.eval.batch, rehearsal.task.times[name])
        rows = stand_ins.texts([(tokens, 3)], n, rehearsal.task.shape.vocabulary)
        kind, how = "generate_until" if made else "loglikelihood", {"max_gen_toks": made}
        asked = [
            Instance(kind, {}, (row["prompt"], how if made else f" {row['a']}"), 0) for row in rows
        ]
        with rehearsal.ledger.phase(name), quiet_stderr():
            getattr(model, kind)(asked)
        found[name] = rehearsal.seconds(rehearsal.ledger.rows[name]) / n
    return found


def measured(rehearsal: Rehearsal, m, policy) -> float:
    """Return the seconds of sampling an answer and measuring it.

    m: the ``Sampler`` of the study's code, which here gets prompts of its own.
    """

    def work(rows: list[dict]) -> None:
        replace(m, prompts=rows, draws=1, best_of=1)(policy)

    return rehearsal.timed("measure", min(len(m.asked), m.batch), work)


def write_inputs(rehearsal: Rehearsal, arm) -> None:
    """Write what a run or its evaluation looks for before it is told of its texts."""
    out = rehearsal.cfg.layout
    prompts = [row for split in ("validation", "test") for row in rehearsal.texts(1, False, split)]
    write_lines(out.prompts, prompts)
    for data in {arm.label_set, arm.proxy} - {None} if arm else ():
        write_lines(out.pairs(data, 1), rehearsal.texts(1, False))
        out.reward(data, 1).parent.mkdir(parents=True, exist_ok=True)
        out.reward(data, 1).unlink(missing_ok=True)
        out.reward(data, 1).symlink_to(out.root / "scorer")
    if arm and (path := out.needed(arm, 1).get("reference")):
        write_text(path, "id,a,b\n0,-1.0,-1.0\n")


def run(rehearsal: Rehearsal) -> dict[str, float]:
    """Train an arm's run, and measure a point of its curve while all that trains is in memory."""
    from bench.steps.align import prepare

    cfg, arm, whole = rehearsal.cfg, rehearsal.cfg.arm(rehearsal.task.of), rehearsal.ledger
    write_inputs(rehearsal, arm)
    with whole.phase("load"):
        todo = prepare(cfg, arm, 1, rehearsal.root)
    measure, rows, found = todo.monitor.measure, todo.ledger.rows, {}
    loaded = rehearsal.seconds(rows["load"])

    def point(policy) -> None:
        found["measure"] = measured(rehearsal, measure, policy)

    with whole.phase("train"):
        for longest, steps in PASSES:
            watch = stopwatch(rehearsal, todo.ledger, measure, point if longest else None)
            todo = replace(todo, settings=rehearsal.cut(arm.settings, steps), monitor=watch)
            todo = with_texts(rehearsal, todo, steps, longest)
            cfg.known_methods[arm.method].train(todo)
            tidy()
    if "heldout" in rows:
        found["heldout"] = rehearsal.seconds(rows["heldout"]) / len(todo.validation)
    rehearsal.loaded = (rehearsal.seconds(rows["load"]) - loaded) / len(PASSES)
    own = todo.ledger.memory
    whole.memory.peak = max(whole.memory.peak, own.peak + own.watched_bytes)
    return watch.seconds() | found


def with_texts(rehearsal: Rehearsal, todo, steps: int, longest: bool):
    """Give a run the texts for some steps; validation pairs only where it is timed."""
    n = steps * getattr(todo.settings, "batch", 1)
    held = 0 if longest else min(HELD, rehearsal.cfg.pairs.validation)
    logps = {i: {"a": -1.0, "b": -1.0} for i in range(max(n, held))}
    texts = {"pairs": rehearsal.texts(n, longest), "validation": rehearsal.texts(held, longest)}
    made = made_length(rehearsal, todo.policy.device, longest)
    decode = rehearsal.cfg.decode.model_copy(update={"max_new_tokens": made})
    return replace(todo, **texts, reference=logps, micro_batch=rehearsal.task.rows, decode=decode)


def made_length(rehearsal: Rehearsal, device, longest: bool) -> int:
    """Return the tokens of samples in training: the most, or on a CPU the usual number.

    A CPU's seconds follow the tokens of all samples, a GPU's those of the longest.
    """
    most = rehearsal.cfg.decode.max_new_tokens
    if longest or device.type != "cpu":
        return most
    return round(mean(min(most, a) for _, *both in rehearsal.task.found.pairs for a in both))


KINDS: dict[str, Callable[[Rehearsal], dict]] = {
    "build": build,
    "base": base,
    "SFT base": sft,
    "pool": pool,
    "reference": reference,
    "reward model": reward,
    "evaluation": evaluation,
}


def rehearse(task: Task, out: Path) -> None:
    """Rehearse one job and write what it took; out of memory and divergence are results."""
    from bench.models.sampling import NoDistribution
    from bench.training import job, trainer
    from bench.training.monitor import Diverged

    threading.Thread(target=end_with_parent, daemon=True).start()
    trainer.quieten()
    runner.cap_memory()
    rehearsal, work = Rehearsal(task), KINDS.get(task.kind, run)
    runner.set_threads(threads(rehearsal.cfg, task.kind))
    job.seed_everything(0)
    try:
        found = work(rehearsal)
        found = found if work is build else {"seconds": found} | costs(rehearsal)
    except (UserError, Diverged, NoDistribution) as error:
        found = {"failed": str(error)}
    except (MemoryError, RuntimeError) as error:
        if not runner.lacks_memory(error):
            raise
        found = {"oom": runner.summary(error)}
    write_json(out, found)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended."""
    if parent := parent_process():
        parent.join()
        os._exit(1)
