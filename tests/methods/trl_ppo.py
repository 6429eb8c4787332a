"""TRL's last PPO trainer (release 1.12.0), beside which ours is tested and timed.

Later releases have none, so it comes from a folder of its own, made by
``pip install --no-deps --target DIR trl==1.12.0`` and named by PREFBENCH_TRL112.

    PREFBENCH_TRL112=DIR python tests/methods/trl_ppo.py CASE OUT

runs one update on a given rollout and saves what TRL computed, for
``tests/methods/test_parity.py``.
"""

import os
import sys
import tempfile

SCALARS = ("pg_loss", "vf_loss", "pg_clipfrac", "approxkl", "entropy")
TENSORS = ("logprobs", "ref_logprobs", "scores", "values", "kl", "rewards", "advantages", "returns")


def module():
    """TRL 1.12's PPO trainer module; it has to be the first import of ``trl`` in the process."""
    sys.path.insert(0, os.environ["PREFBENCH_TRL112"])
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    os.environ["TQDM_DISABLE"] = "1"
    import trl.experimental.ppo.ppo_trainer as ppo_trainer

    return ppo_trainer


def build(models: dict, tokenizer, prompts: list[list[int]], **settings):
    """TRL's trainer on ``models``: policy, reference, critic and reward.

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


def rebuilt(model):
    """A model as new: one that was unpickled no longer returns hidden states, which TRL reads."""
    new = type(model)(model.config)
    new.load_state_dict(model.state_dict())
    return new


def replay(case: dict) -> dict:
    """What TRL computes of one update on ``case["samples"]``, up to the optimiser's step.

    Its ``batch_generation`` gives our tokens. The first whitening marks the end of its rollout:
    there the advantages are not yet whitened, and ``case["moved"]`` replaces the weights of policy
    and critic, so that probability ratios differ from 1 and values from the old ones.
    """
    ppo, samples = module(), case["samples"]
    models = {name: rebuilt(model) for name, model in case["models"].items()}
    seen, whiten = {}, ppo.masked_whiten
    trainer = build(models, case["tokenizer"], samples.prompts.tolist(), **case["settings"])

    def generated(policy, queries, *_):
        ids = samples.ids
        logits = ppo.forward(policy, ids, case["tokenizer"].pad_token_id).logits
        return ids, logits[:, queries.shape[1] - 1 : -1]

    def after_rollout(x, mask, **options):
        seen["raw_advantages"] = x.clone()
        for name, weights in case["moved"].items():
            models[name].load_state_dict(weights)
        return whiten(x, mask, **options)

    def before_step():
        seen["gradients"] = {
            name: [p.grad.clone() for p in models[name].parameters()] for name in case["moved"]
        }

    def at_log(_):
        here = sys._getframe(1).f_locals
        seen.update({name: here[name] for name in TENSORS})
        seen.update({name: here[f"{name}_stats"][0, 0] for name in SCALARS})
        seen["order"] = here["b_inds"].tolist()

    ppo.batch_generation, ppo.masked_whiten = generated, after_rollout
    trainer.optimizer.step, trainer.log = before_step, at_log
    trainer.dataloader = [{"input_ids": samples.prompts}]  # TRL's own would shuffle
    trainer.train()
    return seen


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    given, out = sys.argv[1:]
    torch.save(replay(torch.load(given, weights_only=False)), out)
