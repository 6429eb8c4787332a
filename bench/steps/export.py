"""Write the model of a finished run as a folder that transformers loads from anywhere.

    python -m bench export --testbed micro --arm dpo --seed 1 --out my/dpo

The weights are merged; `--adapter` writes the LoRA adapter alone, which names the model on the hub
that it was trained on. A model card says how it was made. `--push owner/name` uploads the folder.
"""

import argparse
from pathlib import Path

from bench.core import hub
from bench.core.files import atomic, read_json, write_text
from bench.core.progress import say
from bench.core.schema import UserError
from bench.report.words import label


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm", required=True, help="the run's arm")
    parser.add_argument("--seed", type=int, required=True, help="the run's seed")
    parser.add_argument("--out", type=Path, required=True, help="a new folder to write")
    parser.add_argument(
        "--adapter", action="store_true", help="the LoRA adapter, not whole weights"
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload it to this private repository")


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``--out``: weights, tokenizer and README.md.

    Raises UserError if the run has not ended well, if the folder exists, or if an adapter would
    name a model that others cannot load.
    """
    arm = cfg.arm(args.arm)
    own = cfg.of(arm.name)
    files = own.layout.run(arm, args.seed)
    record = read_json(files.record, needed=True)
    if record["status"] != "ok":
        raise UserError(f"{args.arm} seed {args.seed} has no model: it ended as {record['status']}")
    if args.out.exists():
        raise UserError(f"{args.out} exists: name a new folder")
    base = on_the_hub(own) if args.adapter else None
    with atomic(args.out) as part:
        (adapter if args.adapter else whole)(own, files.model, part, base)
        write_text(part / "README.md", card(own, arm, args, record, base))
    say("export", f"{args.out}: AutoModelForCausalLM.from_pretrained('{args.out}')")
    if args.push:
        push(args.out, args.push)


def on_the_hub(cfg) -> str:
    """Return the id of the model that an adapter was trained on; raises UserError without one."""
    hub = cfg.model.hub
    if not (cfg.model.lora and hub and not cfg.sft.steps and not Path(hub.id).exists()):
        raise UserError(
            "an adapter alone needs a model of the hub that it was trained on (model.lora, sft: "
            "skip and a model.hub.id that is no folder): leave out --adapter"
        )
    return hub.id


def whole(cfg, folder: Path, out: Path, base: None) -> None:
    """Write whole weights, an adapter merged into them."""
    from bench.models.loading import load_policy, load_tokenizer, merged

    merged(load_policy(folder, cfg.model), cfg.model).save_pretrained(out)
    load_tokenizer(folder).save_pretrained(out)


def adapter(cfg, folder: Path, out: Path, base: str) -> None:
    """Write the adapter, which names the model of the hub in place of a local folder."""
    from peft import PeftConfig

    from bench.models.loading import load_policy, load_tokenizer

    plain = cfg.model.model_copy(update={"dtype": "bfloat16"})  # which is not merged on loading
    load_policy(folder, plain).save_pretrained(out)
    config = PeftConfig.from_pretrained(out)
    commit = read_json(cfg.layout.base / "source.json").get("commit")
    config.base_model_name_or_path = base
    config.revision = commit or cfg.model.hub.revision  # a branch may move
    config.save_pretrained(out)
    load_tokenizer(folder).save_pretrained(out)


def card(cfg, arm, args, record: dict, base: str | None) -> str:
    """Return a model card: how the model was made, and how it scored here."""
    source = base or (cfg.model.hub.id if cfg.model.hub else None)
    head = ["library_name: " + ("peft" if base else "transformers"), "tags: [prefbench, rlhf]"]
    head += [f"base_model: {source}"] if source and not Path(source).exists() else []
    settings = "\n".join(f"| {key} | {value} |" for key, value in record["settings"].items())
    command = f"python -m bench align --testbed {cfg.source} --arm {arm.name} --seed {args.seed}"
    lines = ["---", *head, "---", "", f"# {label(arm.name)} on {cfg.testbed}, seed {args.seed}", "",
             f"Trained by prefbench with {label(arm.method)} from the SFT base of the testbed "
             f"`{cfg.testbed}`: {record['pairs']:,} pairs ({record['preference']} labels), "
             f"{record['steps']:,} optimiser steps, {record['trainable_parameters']:,} of "
             f"{record['parameters']:,} parameters.", "", *scores(cfg, arm, args.seed), "",
             "| setting | value |", "| :-- | :-- |", settings, "",
             f"Again, after the steps before it: `{command}`", ""]  # fmt: skip
    return "\n".join(lines)


def scores(cfg, arm, seed: int) -> list[str]:
    """Say how the run's answers scored on test prompts, if it was evaluated."""
    import pandas as pd

    files = cfg.layout.evaluation(arm, seed)
    if not files.prompts.exists():
        return ["Not evaluated."]
    table = pd.read_csv(files.prompts)
    return [
        f"Mean gold {table.gold.mean():.2f} and KL {table.kl.mean():.2f} nats from the SFT base "
        f"over {len(table):,} answers to {table.prompt_id.nunique():,} test prompts. One run: no "
        "interval."
    ]


def push(folder: Path, name: str) -> None:
    """Upload a folder to a private repository; raises UserError if the hub does not take it."""
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(name, exist_ok=True, private=True)
        HfApi().upload_folder(repo_id=name, folder_path=folder)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} was not uploaded ({hub.shortly(error)}): set HF_TOKEN with write access, and "
            f"unset HF_HUB_OFFLINE; the model is in {folder}"
        ) from None
    say("export", f"https://huggingface.co/{name}")
