"""RLOO, GRPO and online DPO against TRL 1.16, formulas by hand, and a known optimum."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import trainings
from test_optimality import Known, World, check

from bench.core.schema import UserError
from bench.methods import METHODS, grpo, online_dpo, rloo
from bench.methods.ppo import group, trainer
from bench.methods.ppo.roles import assemble
from bench.training.batches import check_rollouts
from bench.training.ledger import Ledger

SCORES = torch.tensor([[1.0, 2.0, 6.0, -1.0], [0.5, 0.5, 0.5, 0.5]])


def test_a_baseline_is_the_mean_of_the_others():
    found = rloo.leave_one_out(SCORES)
    for g, row in enumerate(SCORES.tolist()):
        for i, score in enumerate(row):
            others = row[:i] + row[i + 1 :]
            assert found[g, i].item() == pytest.approx(score - sum(others) / len(others))


def test_relative_scores_are_in_standard_deviations_of_their_group():
    found = grpo.relative(SCORES)
    assert found[0].tolist() == pytest.approx(((SCORES[0] - 2) / (SCORES[0].std() + 1e-4)).tolist())
    assert found[1].tolist() == [0, 0, 0, 0]  # equal scores teach nothing
    assert grpo.relative(SCORES, scale=False)[0].tolist() == [-1, 0, 4, -3]


def test_the_token_kl_is_never_negative_and_is_the_kl_on_average():
    torch.manual_seed(0)
    logp, logq = (torch.randn(50).log_softmax(0) for _ in range(2))
    each = grpo.token_kl(logp, logq)
    assert (each >= 0).all()
    exact = (logp.exp() * (logp - logq)).sum()
    assert (logp.exp() * each).sum().item() == pytest.approx(exact.item(), rel=1e-4)


def loop(name, folder, root, **settings):
    """The loop of a method over a run of `trainings`, and its first rollout."""
    run, made = trainings.untrained(name, folder, root), []
    run.settings = run.settings.model_copy(update=settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "train_ppo", lambda run, kind: made.append(kind))
        METHODS[trainings.RUNS[name][0]].train(run)
    found = made[0](run, assemble(run))
    return found, found.score(found.collect())


def gradient(found, rollout) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a rollout, all of it one minibatch."""
    loss = found.gradients(rollout)["loss"]
    return loss, torch.cat([w.grad.flatten() for w in found.roles.actor_weights])


def moved(found) -> None:
    """Move the policy a little from the one that sampled, so that ratios are not 1."""
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in found.roles.actor_weights:
            weight.add_(0.05 * torch.randn_like(weight) * weight.abs().mean())


def stock(kind, found, root, **config):
    """TRL's trainer around the same policy."""
    import trl

    sizes = {"per_device_train_batch_size": 8, "num_generations": found.answers, "max_steps": 1}
    args = getattr(trl, f"{kind}Config")(
        output_dir=str(root), use_cpu=True, bf16=False, report_to=[], temperature=1.0,
        max_completion_length=8, beta=found.settings.beta, epsilon=0.2, **sizes, **config,
    )  # fmt: skip
    from datasets import Dataset

    rows = Dataset.from_list([{"prompt": row["prompt"]} for row in found.run.pairs])
    made = getattr(trl, f"{kind}Trainer")(
        model=found.roles.policy, reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args, train_dataset=rows, processing_class=found.run.tokenizer,
    )  # fmt: skip
    made.current_gradient_accumulation_steps = 1
    return made


def given(rollout) -> dict:
    """A rollout as TRL's loss reads it."""
    samples = rollout.samples
    return {
        "prompt_ids": samples.prompts,
        "prompt_mask": samples.prompt_mask.long(),
        "completion_ids": samples.completions,
        "completion_mask": samples.mask.long(),
        "advantages": rollout.advantages[:, 0],
        "ref_per_token_logps": rollout.ref_logps,
        "old_per_token_logps": rollout.logps,
        "old_logps": rollout.logps.sum(1),
        "num_items_in_batch": samples.mask.sum(),
    }


def by_trl(made, rollout) -> tuple[float, torch.Tensor]:
    weights = [w for w in made.model.parameters() if w.requires_grad]
    for weight in weights:
        weight.grad = None
    loss = made._compute_loss(made.model, given(rollout))
    loss.backward()
    return loss.item(), torch.cat([w.grad.flatten() for w in weights])


@pytest.mark.parametrize(
    "name,kind,config",
    [("rloo", "RLOO", {}), ("grpo", "GRPO", {"loss_type": "grpo"})],
)
@pytest.mark.parametrize("micro_batch", [None, 4])
def test_loss_and_gradient_are_trls(name, kind, config, micro_batch, sft_and_reward, tmp_path):
    sizes = {"batch": 8, "minibatch": 8, "inner_epochs": 1, "micro_batch": micro_batch}
    found, rollout = loop(name, sft_and_reward, tmp_path, **sizes)
    assert rollout.advantages.abs().max() > 0
    moved(found)
    loss, own = gradient(found, rollout)
    other, theirs = by_trl(stock(kind, found, tmp_path / "trl", **config), rollout)
    assert loss == pytest.approx(other, rel=1e-4, abs=1e-6)
    assert (own - theirs).norm() <= 1e-4 * theirs.norm() and theirs.norm() > 0


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_online_dpo_is_dpos_loss_on_what_was_sampled(micro_batch, sft_and_reward, tmp_path):
    sizes = {"batch": 8, "minibatch": 8, "micro_batch": micro_batch}
    found, rollout = loop("online-dpo", sft_and_reward, tmp_path, **sizes)
    moved(found)
    loss, own = gradient(found, rollout)
    policy, samples = found.roles.policy, rollout.samples
    for weight in found.roles.actor_weights:
        weight.grad = None
    logps = trainer.token_logps(found.roles.logits(samples), samples.completions) * samples.mask
    ratios, scores = (logps - rollout.ref_logps).sum(1), rollout.scores
    expected = []
    for i in range(0, 8, 2):
        first = scores[i] >= scores[i + 1]
        better, worse = (i, i + 1) if first else (i + 1, i)
        expected.append(-F.logsigmoid(found.settings.beta * (ratios[better] - ratios[worse])))
    mean = torch.stack(expected).mean()
    mean.backward()
    theirs = torch.cat([w.grad.flatten() for w in found.roles.actor_weights])
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    assert (own - theirs).norm() <= 1e-5 * theirs.norm() and policy is found.roles.policy


def test_the_answers_to_a_prompt_lie_side_by_side(sft_and_reward, tmp_path):
    found, rollout = loop("grpo", sft_and_reward, tmp_path)
    groups = rollout.samples.prompts.view(-1, found.answers, rollout.samples.prompts.shape[1])
    assert (groups == groups[:, :1]).all() and not (groups[0] == groups[1]).all()
    answers = {tuple(row) for row in rollout.samples.rows()[: found.answers]}
    assert len(answers) > 1


def test_pairs_stay_together_in_every_minibatch(sft_and_reward, tmp_path):
    found, _ = loop("online-dpo", sft_and_reward, tmp_path, inner_epochs=2)
    rows = [batch.tolist() for batch in found.minibatches(8)]
    assert len(rows) == 4  # of 4 answers, twice
    for batch in rows:
        assert all(b == a + 1 and a % 2 == 0 for a, b in zip(batch[::2], batch[1::2], strict=True))
    assert sorted(rows[0] + rows[1]) == list(range(8))


def test_no_critic_is_held_charged_or_trained(sft_and_reward, tmp_path):
    for name in ("rloo", "grpo"):
        found, rollout = loop(name, sft_and_reward, tmp_path)
        assert not found.roles.criticised and found.roles.critic_weights == []
        own = found.roles.cost("update", rollout.samples)
        found.roles.criticised = True
        assert own["flops"] < found.roles.cost("update", rollout.samples)["flops"]


def test_rloo_reaches_the_optimum_of_the_kl_regularised_reward():
    """As PPO does in `test_optimality.py`: pi*(y) ~ pi_ref(y) exp(r(y) / beta)."""
    world = World(2, 0.7)
    policy = copy.deepcopy(world.reference).requires_grad_(True)
    sizes = {"batch": 512, "minibatch": 512, "answers": 8, "epochs": 250 * 64}
    run = SimpleNamespace(
        settings=rloo.Settings(
            lr=3e-3, decay=1.0, warmup=0, beta=0.7, missing_eos_penalty=0, **sizes
        ),
        seed=1,
        tokenizer=world.tokenizer,
        prompts=["one"],
        decode=SimpleNamespace(max_new_tokens=2),
        cuda_graph=False,
        ledger=Ledger(),
    )

    class RLOO(group.Group):
        advantages = lambda self, scores, kl: rloo.leave_one_out(scores - self.beta * kl)  # noqa: E731
        losses = lambda self, logps, part: trainer.clipped_surrogate(  # noqa: E731
            (logps - part.logps).sum(1), part.advantages[:, 0], self.settings.clip
        )

    roles = Known(world, policy)
    roles.criticised, roles.critic_weights = False, []
    made = RLOO(run, roles)
    for number in range(1, 251):
        made.update(number)
    check(world, policy, world.optimum, "RLOO")


def test_groups_that_do_not_fill_a_batch_are_refused():
    with pytest.raises(ValueError, match="batch 6 is no multiple of answers 4"):
        grpo.Settings(batch=6, minibatch=6)
    with pytest.raises(ValueError, match="minibatch 3 is odd"):
        online_dpo.Settings(minibatch=3)
    with pytest.raises(UserError, match="make both multiples of 8"):
        check_rollouts(online_dpo.Settings(batch=64, minibatch=12), 4)
    assert online_dpo.Settings().answers == 2
