"""The PPO loop's state: four models or one base, resuming, accumulation, schedules."""

import copy
import io
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from conftest import ending

from bench.methods.ppo import Settings
from bench.methods.ppo.roles import Copies, Shared
from bench.methods.ppo.trainer import PPO, adapted, masked_mean, token_rewards, whiten
from bench.models.draws import uniforms
from bench.models.loading import adapt, load_policy, load_scorer, load_tokenizer, save, unwrap
from bench.models.sampling import sample
from bench.models.tokens import prompt_ids
from bench.settings.sections import Lora
from bench.steps.align import attempt
from bench.studies import load
from bench.training.ledger import Ledger
from bench.training.monitor import Diverged, Monitor

LORA = load("tiny").model.model_copy(update={"lora": Lora(r=4, alpha=8, layers=1)})
PROMPTS = ("the a", "review the a but", "do", "take then do this", "a but the")


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory):
    """Folders of an SFT base and of a reward adapter on it, both with random weights."""
    from bench.steps.base import small_llama

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("roles")
    base = small_llama(load("tiny").model, tokenizer)
    save(randomised(base, 0.2), tokenizer, root / "sft")
    reward = adapt(load_scorer(root / "sft", LORA), LORA, "SEQ_CLS")
    save(randomised(reward, 0.1), tokenizer, root / "reward")
    return root


def randomised(model, std):
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=std)
    return model


def new_policy(root):
    return ending(load_policy(root / "sft", LORA), load_tokenizer(root / "sft"))


def copies(root):
    policy, reference = (new_policy(root) for _ in range(2))
    critic, reward = (load_scorer(root / "reward", LORA) for _ in range(2))
    return Copies(policy.requires_grad_(True), reference, critic.requires_grad_(True), reward)


def shared(root, **kwargs):
    return Shared(adapt(new_policy(root), LORA), root / "reward", **kwargs)


def moving(root):
    return shared(root, moving=True)


def trainer(roles, tokenizer, **settings):
    """A PPO loop over few prompts."""
    plain = {"batch": 4, "minibatch": 4, "epochs": 4, "warmup": 1, "lr": 1e-2}
    run = SimpleNamespace(
        settings=Settings(**plain | settings),
        seed=3,
        tokenizer=tokenizer,
        prompts=PROMPTS,
        decode=SimpleNamespace(max_new_tokens=8),
        cuda_graph=False,
        ledger=Ledger(),
    )
    return PPO(run, roles)


@contextmanager
def counted(model):
    """The passes through a model's attention, in a list that grows."""
    passes = []
    hooks = [
        layer.self_attn.register_forward_hook(lambda *_: passes.append(1))
        for layer in unwrap(model).model.layers
    ]
    yield passes
    for hook in hooks:
        hook.remove()


def drawn(roles, tokenizer):
    ids = [prompt_ids(tokenizer, prompt) for prompt in PROMPTS]
    draws = uniforms(8, len(ids), torch.Generator().manual_seed(0))
    samples = sample(roles.policy, tokenizer, ids, 8, draws)
    assert 0 < samples.ended.sum() < len(samples.ended)  # or masks go untested
    return samples


def test_one_base_says_what_four_models_say(folders, tokenizer):
    one, four = shared(folders), copies(folders)
    samples = drawn(four, tokenizer)
    digested = one.digested(samples)
    assert digested.hidden is not None and four.digested(samples).hidden is None
    for what in ("logits", "values", "reference_logps", "scores"):
        whole = getattr(four, what)(samples)
        for given in (samples, digested):
            found = getattr(one, what)(given)
            torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)
    assert (one.resident, four.resident) == (1, 4)


def test_digested_samples_can_be_cut_down(folders, tokenizer):
    one = shared(folders)
    samples = drawn(one, tokenizer)
    rows = samples.batches(1)[0]  # the shortest, so that there is padding to lose on both sides
    cut = one.digested(samples)[rows].trimmed()
    assert cut.hidden.shape[1] == cut.ids.shape[1] < samples.ids.shape[1]
    alone = samples[rows].trimmed()
    torch.testing.assert_close(one.logits(cut), one.logits(alone), atol=1e-5, rtol=1e-4)


def test_no_layer_is_run_twice_on_digested_samples(folders, tokenizer):
    one = shared(folders)
    samples, passes = drawn(one, tokenizer), []
    one.trunk.layers[0].register_forward_hook(lambda *_: passes.append(1))
    digested = one.digested(samples)
    one.logits(digested), one.values(digested), one.reference_logps(digested)
    assert len(passes) == 1


@pytest.mark.parametrize("other", [{"r": 2}, {"alpha": 4}])
def test_a_reward_adapter_of_another_scale_is_refused(other, folders, tokenizer, tmp_path):
    model = LORA.model_copy(update={"lora": LORA.lora.model_copy(update=other)})
    save(adapt(load_scorer(folders / "sft", model), model, "SEQ_CLS"), tokenizer, tmp_path)
    with pytest.raises(ValueError, match="not the policy's 4, 8"):
        Shared(adapt(new_policy(folders), LORA), tmp_path)


def test_the_reference_stays_while_the_policy_of_one_base_moves(folders, tokenizer):
    one = shared(folders)
    samples = drawn(one, tokenizer)
    before, start = one.reference_logps(samples), one.logits(samples).detach()
    loop = trainer(one, tokenizer)
    for number in (1, 2):
        loop.update(number)
    assert torch.equal(one.reference_logps(samples), before)
    assert (one.logits(samples) - start).abs().max() > 1e-3


@pytest.mark.parametrize("make", [copies, shared])
def test_the_value_loss_reaches_no_weight_of_the_policy(make, folders, tokenizer):
    roles = make(folders)
    roles.values(drawn(roles, tokenizer)).pow(2).sum().backward()
    assert all(p.grad is None for p in roles.actor_weights)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in roles.critic_weights)
    assert not {id(p) for p in roles.actor_weights} & {id(p) for p in roles.critic_weights}


def test_released_one_base_is_the_policy_alone(folders, tokenizer, tmp_path):
    one = shared(folders)
    one.release()
    save(one.policy, tokenizer, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert list(one.policy.peft_config) == ["default"]


@pytest.mark.parametrize("make", [copies, shared, moving])
@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(make, stopped, folders, tokenizer):
    settings = {"target_kl": 0.5, "decay": 0.5}
    settings["reference_ema"] = 0.0 if make is shared else 0.3
    torch.manual_seed(0)
    whole, first, again = (trainer(make(folders), tokenizer, **settings) for _ in range(3))
    started = whole.state()  # adapters start with random factors: give all the same
    for loop in (first, again):
        loop.roles.restore(copy.deepcopy(started["roles"]))
    for number in range(1, 5):
        whole.update(number)
    for number in range(1, stopped + 1):
        first.update(number)
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    again.restore(torch.load(file, weights_only=True))
    for number in range(stopped + 1, 5):
        again.update(number)
    assert same(whole.state(), again.state())
    assert whole.beta != whole.settings.beta


def same(a, b) -> bool:
    """Whether two nested states are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("make", [copies, shared])
def test_micro_batches_add_up_to_the_minibatch(make, folders, tokenizer):
    loop = trainer(make(folders), tokenizer)
    rollout = loop.score(drawn(loop.roles, tokenizer))
    rollout.logps = rollout.logps + 0.3 * torch.randn_like(
        rollout.logps
    )  # so that some are clipped
    found = []
    for size in (None, 2):
        loop.settings = loop.settings.model_copy(update={"micro_batch": size})
        metrics = loop.gradients(rollout)
        weights = [*loop.roles.actor_weights, *loop.roles.critic_weights]
        found.append((metrics, [p.grad.clone() for p in weights if p.grad is not None]))
    (one, whole), (many, parts) = found
    assert one == pytest.approx(many, rel=1e-4, abs=1e-6) and one["clip_share"] > 0
    torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("make", [copies, shared])
def test_layers_computed_again_give_the_same_gradients(make, folders, tokenizer):
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        roles = make(folders)
        models = (roles.policy, roles.critic) if make is copies else (roles.policy,)
        if checkpointing:
            for model in map(unwrap, models):
                model.gradient_checkpointing_enable({"use_reentrant": False})
                model.disable_input_require_grads()
        ppo = trainer(roles, tokenizer)
        for weight in roles.actor_weights:  # an adapter starts at 0: no gradient tells
            torch.nn.init.normal_(weight, std=0.1)
        with counted(models[0]) as passes:
            ppo.gradients(ppo.score(ppo.collect()))
        found.append([passes, [w.grad for w in roles.actor_weights + roles.critic_weights]])
    (once, plain), (twice, again) = found
    assert sum(twice) > sum(once)
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)


def test_padding_that_a_micro_batch_shares_is_cut(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer)
    rollout = loop.score(drawn(loop.roles, tokenizer))
    parts = rollout.parts(1)
    assert sum(len(part.scores) for part in parts) == len(PROMPTS)
    assert all(part.samples.attention.all() for part in parts)
    assert parts[0].returns.shape == parts[0].samples.mask.shape


def test_scoring_in_micro_batches_gives_what_one_batch_gives(folders, tokenizer):
    whole = trainer(shared(folders), tokenizer)
    parts = trainer(shared(folders), tokenizer, micro_batch=2)
    samples = drawn(whole.roles, tokenizer)
    assert not samples.attention.all() and len(samples.batches(2)) == 3
    for one, many in zip(whole.scored(samples), parts.scored(samples), strict=True):
        mask = 1 if one.dim() == 1 else samples.mask
        torch.testing.assert_close(one * mask, many * mask, atol=1e-5, rtol=1e-4)


def test_each_setting_of_a_rollout_s_scoring_does_what_it_says(folders, tokenizer):
    """With gamma = lambda = 1 the first return is the sum of the rewards."""
    plain = {"whiten_advantages": False, "gamma": 1.0, "lam": 1.0}
    for whitened in (False, True):
        loop = trainer(copies(folders), tokenizer, whiten_rewards=whitened, **plain)
        loop.roles.policy.lm_head.bias.data[5] += 1.0  # away from the reference
        loop.beta = 0.7  # as if adapted
        got = loop.score(drawn(loop.roles, tokenizer))
        mask = got.samples.mask
        rewards = token_rewards(got.scores, got.logps, got.ref_logps, mask, 0.7)
        rewards = whiten(rewards, mask, shift=False) if whitened else rewards
        torch.testing.assert_close(got.returns[:, 0], rewards.sum(1))
        raw = got.returns - got.values
        torch.testing.assert_close(got.advantages, raw * mask)
        loop.settings = loop.settings.model_copy(update={"whiten_advantages": True})
        white = loop.score(got.samples).advantages
        torch.testing.assert_close(white, whiten(raw, mask))
        assert masked_mean(white, mask).abs() < 1e-5


def test_both_gradients_are_clipped_and_each_has_its_rate(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer, max_grad_norm=1e-3, lr=1e-4, critic_lr=1e-2)
    assert loop.full_lr == [1e-4, 1e-2]
    loop.gradients(loop.score(drawn(loop.roles, tokenizer)))
    norms = loop.apply()
    for weights in (loop.roles.actor_weights, loop.roles.critic_weights):
        grads = [p.grad for p in weights if p.grad is not None]
        assert torch.stack([g.norm() for g in grads]).norm().item() == pytest.approx(1e-3, rel=1e-2)
    assert min(norms.values()) > 1e-3


@pytest.mark.parametrize(
    "settings,passes", [({}, 2), ({"minibatch": 3}, 4), ({"kl_stop": 1e-6}, 2)]
)
def test_tokens_are_booked_for_the_passes_made(settings, passes, folders, tokenizer, monkeypatch):
    loop = trainer(copies(folders), tokenizer, inner_epochs=2, **settings)
    seen, gradients = [], loop.gradients
    monkeypatch.setattr(
        loop, "gradients", lambda b: (seen.append(b.samples.attention.sum()), gradients(b))[1]
    )
    loop.update(1)
    booked = {row["phase"]: row["tokens"] for row in loop.run.ledger.table()}
    assert len(seen) == passes and booked["update"] == 2 * sum(seen)


def test_a_policy_whose_weights_blow_up_has_diverged(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer, lr=1e12, warmup=0)
    status, reason = attempt(SimpleNamespace(train=lambda run: [loop.update(1), loop.update(2)]), 0)
    assert (status, reason) == ("diverged", "the policy's probabilities are not finite numbers")


def test_scores_are_centred_on_the_sft_base(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer, missing_eos_penalty=0)
    first = loop.score(drawn(loop.roles, tokenizer))
    assert first.scores.mean().item() == pytest.approx(0, abs=1e-6) and loop.offset != 0
    plain = trainer(copies(folders), tokenizer, missing_eos_penalty=0, center=False)
    raw = plain.score(drawn(plain.roles, tokenizer))
    torch.testing.assert_close(raw.scores - loop.offset, first.scores)
    torch.testing.assert_close((raw.values - loop.offset) * first.samples.mask, first.values)


def test_an_unfinished_completion_is_penalised(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer, missing_eos_penalty=5, center=False)
    samples = drawn(loop.roles, tokenizer)
    gap = loop.roles.scores(samples) - loop.score(samples).scores
    torch.testing.assert_close(gap, 5 * (~samples.ended).float())


def test_kl_stop_ends_the_passes_over_a_rollout(folders, tokenizer):
    free = trainer(copies(folders), tokenizer, inner_epochs=6).update(1)
    held = trainer(copies(folders), tokenizer, inner_epochs=6, kl_stop=1e-6).update(1)
    assert free["inner_steps"] == 6 and held["inner_steps"] == 1


def test_the_budget_covers_every_prompt(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer, epochs=1)
    assert loop.updates() == 2  # 5 prompts in rollouts of 4
    asked = [tuple(p) for _ in range(loop.updates()) for p in loop.next_prompts()]
    assert set(asked) == {tuple(p) for p in loop.prompts}


def test_learning_rates_rise_and_fall(folders, tokenizer):
    loop = trainer(copies(folders), tokenizer, epochs=8, warmup=2, decay=0.5, lr=1.0)
    rates = []
    for number in range(1, loop.updates() + 1):
        loop.schedule(number)
        rates.append(loop.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_the_reference_follows_by_its_share(folders):
    four = copies(folders)
    with torch.no_grad():
        for weight in four.actor_weights:
            weight.add_(1.0)
    before = [p.clone() for p in four.reference.parameters()]
    four.follow(0.25)
    for old, new in zip(before, four.reference.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_the_reference_of_one_base_follows_by_its_share(folders):
    one = moving(folders)
    with torch.no_grad():
        for weight in one.actor_weights:
            weight.add_(1.0)
    before = [w.clone() for w in one._weights("reference")]
    one.follow(0.25)
    for old, new in zip(before, one._weights("reference"), strict=True):
        torch.testing.assert_close(new, old + 0.25)


@pytest.mark.parametrize("kl,beta", [(4.0, 1.0), (4.4, 1.01), (99.0, 1.02), (0.0, 0.98)])
def test_beta_moves_towards_the_target_by_at_most_a_fifth_of_the_gain(kl, beta):
    assert adapted(1.0, kl, target=4.0, gain=0.1) == pytest.approx(beta)


def test_whitening_without_shift_keeps_the_mean():
    x, mask = torch.tensor([[1.0, 5.0], [9.0, 0.0]]), torch.tensor([[1, 1], [1, 0]])
    white = whiten(x, mask, shift=False)
    real = white[mask.bool()]
    assert real.mean().item() == pytest.approx(5.0)
    assert real.var(unbiased=False).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("metrics", [{"loss": float("nan")}, {"loss": 1.0, "kl": 31.0}])
def test_a_run_that_has_run_away_ends(metrics, tmp_path):
    progress = SimpleNamespace(total=0, done=0, update=lambda *a, **k: None)
    monitor = Monitor(None, (1.0,), (), Ledger(), progress, tmp_path)
    monitor.begin(10, None)
    with pytest.raises(Diverged, match="at step 1"):
        monitor.step(1, metrics, None)
    assert monitor.log == [{"step": 1} | metrics]
