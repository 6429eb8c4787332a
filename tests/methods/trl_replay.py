"""One update of TRL 1.12's PPO trainer on a given rollout, for ``test_parity.py``.

    python tests/methods/trl_replay.py TRL112 CASE OUT

saves what TRL computed; TRL112: see ``bench/steps/speed/trl_ppo.py``.
"""

import sys

from bench.steps.speed import trl_ppo

SCALARS = ("pg_loss", "vf_loss", "pg_clipfrac", "approxkl", "entropy")
TENSORS = ("logprobs", "ref_logprobs", "scores", "values", "kl", "rewards", "advantages", "returns")


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
    ppo, samples = trl_ppo.module(), case["samples"]
    models = {name: rebuilt(model) for name, model in case["models"].items()}
    seen, whiten = {}, ppo.masked_whiten
    trainer = trl_ppo.build(models, case["tokenizer"], samples.prompts.tolist(), **case["settings"])

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
    folder, given, out = sys.argv[1:]
    trl_ppo.module(folder)
    torch.save(replay(torch.load(given, weights_only=False)), out)
