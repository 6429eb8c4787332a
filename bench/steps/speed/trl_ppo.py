"""TRL's last PPO trainer (release 1.12.0), beside which ours is tested and timed.

Later releases have none, so it comes from a folder of its own, made by
``pip install --no-deps --target DIR trl==1.12.0``.
"""

import os
import sys
import tempfile
from importlib.metadata import version

from bench.core.schema import UserError


def module(folder: str | None = None):
    """Import TRL 1.12's PPO trainer from ``folder``; None: it is imported already.

    Raises UserError if another TRL was imported first, or the folder holds another.
    """
    if folder is not None:
        sys.path.insert(0, str(folder))
        found = version("trl")
        if found != "1.12.0" or "trl" in sys.modules:
            raise UserError(f"--trl112 needs TRL 1.12.0 in {folder}, and nothing else: {found}")
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    os.environ["TQDM_DISABLE"] = "1"
    import trl.experimental.ppo.ppo_trainer as ppo_trainer

    return ppo_trainer


def build(models: dict, tokenizer, prompts: list[list[int]], **settings):
    """Return TRL's trainer on ``models``: policy, reference, critic and reward.

    Every call of its ``train`` is one rollout over all ``prompts`` and the steps on it.
    """
    from datasets import Dataset

    ppo = module()
    tokenizer.padding_side = "left"
    fixed = {
        "output_dir": tempfile.mkdtemp(),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "num_sample_generations": 0,
        "total_episodes": len(prompts),
        "temperature": 1.0,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "lr_scheduler_type": "constant",
    }
    return ppo.PPOTrainer(
        args=ppo.PPOConfig(**fixed | settings),
        processing_class=tokenizer,
        model=models["policy"],
        ref_model=models["reference"],
        reward_model=models["reward"],
        value_model=models["critic"],
        train_dataset=Dataset.from_list([{"input_ids": row} for row in prompts]),
    )
