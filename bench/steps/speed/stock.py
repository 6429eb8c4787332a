"""Stock scripts: micro by TRL, transformers and lm-eval as they come.

    python -m bench.steps.speed.stock STAGE SEED OUT TRL112

runs one stage, in a process of its own, where the suite has run (`runs/micro`), from the suite's
inputs: the same base, demonstrations, pairs, batches, lengths and seed. OUT is a folder for its
model and for the seconds of its start. Pairs are tokenised beforehand on both sides.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ONCE = ("sft", "pairs", "evaluate-sft")  # stages whose result all seeds share
TRAINED = ("reward", "align-dpo", "align-ipo", "align-orpo", "ppo")
EACH = (*TRAINED, *(f"evaluate-{name}" for name in ("dpo", "ipo", "orpo", "ppo")))


class Stock:
    """The suite's settings and inputs, and the folder of what the stages make."""

    def __init__(self, seed: int, out: Path):
        from bench.core.files import read_rows
        from bench.models.loading import load_tokenizer
        from bench.studies import load
        from bench.training import trainer

        trainer.quieten()
        self.cfg, self.seed, self.out = load("micro"), seed, out
        self.layout = self.cfg.layout
        self.tokenizer = load_tokenizer(self.layout.base)
        self.demonstrations = read_rows(self.layout.data / "sft.jsonl")
        self.drawn = read_rows(self.layout.pairs("gold", seed))

    def model(self, folder: Path):
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(folder, dtype="float32")

    def scorer(self, folder: Path):
        from transformers import AutoModelForSequenceClassification

        kind = AutoModelForSequenceClassification
        return kind.from_pretrained(folder, dtype="float32", num_labels=1)

    def job(self, settings, model) -> SimpleNamespace:
        """Return what ``bench.training.trainer.arguments`` reads."""
        shared = {"root": self.out, "micro_batch": None, "tokenizer": self.tokenizer}
        return SimpleNamespace(settings=settings, seed=self.seed, policy=model, **shared)

    def train(self, trainer, name: str) -> None:
        trainer.train()
        trainer.save_model(str(self.out / name))
        self.tokenizer.save_pretrained(self.out / name)

    # --- the stages

    def sft(self) -> None:
        from bench.steps import sft
        from bench.steps.speed import trl_sft

        todo = self.job(self.cfg.sft, self.model(self.layout.base))
        rows = sft.tokenised(self.tokenizer, self.demonstrations)
        self.train(trl_sft.trainer(todo, rows), "sft")

    def pairs(self) -> None:
        """Sample two answers to each of the pool's prompts."""
        from bench.core.files import read_rows

        model = self.model(self.layout.sft).eval()
        prompts = [row["prompt"] for row in read_rows(self.layout.pool("pool"))]
        size = self.cfg.pairs.batch
        for start in range(0, len(prompts), size):
            for _ in "ab":
                self.generate(model, prompts[start : start + size])

    def generate(self, model, prompts: list[str]):
        from bench.models.tokens import prompt_ids

        ids = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        batch = self.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
        return model.generate(**batch, do_sample=True, top_k=0, max_new_tokens=self.length)

    @property
    def length(self) -> int:
        return self.cfg.decode.max_new_tokens

    def reward(self) -> None:
        from bench.steps import reward

        todo = self.job(self.cfg.reward, self.scorer(self.layout.sft))
        rows = reward.tokenised(self.tokenizer, self.drawn)
        self.train(reward.reward_trainer(todo, rows), "reward")

    def align(self, name: str) -> None:
        """Train by TRL 1.16's DPO, IPO or ORPO; the first two run their reference as they go."""
        from bench.models.passes import tokenised
        from bench.steps.speed import trl_pairs

        todo = self.job(self.cfg.arm(name).settings, self.model(self.layout.sft))
        rows = tokenised(self.tokenizer, self.drawn)
        reference = None if name == "orpo" else self.model(self.layout.sft)
        self.train(trl_pairs.stock(name, todo, rows, reference), name)

    def ppo(self) -> None:
        from bench.models.tokens import prompt_ids
        from bench.steps.speed import trl_ppo

        settings, sft, reward = self.cfg.arm("ppo").settings, self.layout.sft, self.out / "reward"
        models = {name: self.model(sft) for name in ("policy", "reference")}
        models |= {name: self.scorer(reward) for name in ("critic", "reward")}
        trainer = trl_ppo.build(
            models,
            self.tokenizer,
            [prompt_ids(self.tokenizer, pair["prompt"]) for pair in self.drawn],
            per_device_train_batch_size=settings.batch,
            local_rollout_forward_batch_size=settings.batch,
            num_ppo_epochs=settings.inner_epochs,
            response_length=self.length,
            stop_token="eos",
            learning_rate=settings.lr,
            kl_coef=settings.beta,
            missing_eos_penalty=settings.missing_eos_penalty,
        )
        trainer.train()
        models["policy"].save_pretrained(self.out / "ppo")
        self.tokenizer.save_pretrained(self.out / "ppo")

    def evaluate(self, name: str) -> None:
        """Answer the test prompts, and run lm-eval with its own manager of tasks."""
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        from bench.evaluation.harness import task_config, task_names
        from bench.steps.evaluate import test_prompts

        model = self.model(self.out / name).eval()
        self.generate(model, [row["prompt"] for row in test_prompts(self.cfg)])
        tasks = [task_config(self.cfg, task) for task in task_names(self.cfg)]
        wrapped = HFLM(pretrained=model, tokenizer=self.tokenizer, batch_size=self.cfg.eval.batch)
        simple_evaluate(model=wrapped, tasks=tasks, bootstrap_iters=100, log_samples=False)


def main(stage: str, seed: int, out: Path, trl112: str) -> None:
    """Run a stage, and write the core-seconds that its imports and inputs took."""
    stock = Stock(seed, out)
    if stage == "ppo":
        from bench.steps.speed import trl_ppo

        trl_ppo.module(trl112)
    elif stage.startswith("evaluate"):
        import lm_eval.models.huggingface  # noqa: F401
    else:
        import trl.experimental.orpo  # noqa: F401
    start = time.process_time()
    kind, *name = stage.split("-")
    getattr(stock, kind)(*name)
    (out / f"{stage}.json").write_text(json.dumps({"start": start}))


if __name__ == "__main__":
    name, seed, folder, trl = sys.argv[1:]
    main(name, int(seed), Path(folder), trl)
