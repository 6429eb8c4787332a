"""bench/methods/ppo/trainer.py against TRL 1.12's PPOTrainer: same weights, rollout and numbers.

TRL runs in a process of its own (``tests/methods/trl_replay.py``). Between rollout and update both
have their policy and critic moved by the same step, so that ratios and values are clipped in the
one update that is compared. ``full``: no completion ends early; ``ragged``: EOS here and there.

Where the two define something differently, a test of its own says so, gives our reason, and shows
either that the one converts into the other or that the difference is the one it names.
"""

import copy
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench.methods.ppo import Settings
from bench.methods.ppo.roles import Copies
from bench.methods.ppo.trainer import PPO, gae, token_rewards, value_loss, whiten
from bench.models.passes import completion_logps, forced, token_scores
from bench.training.ledger import Ledger

pytestmark = pytest.mark.slow

ROWS, WIDTH = 8, 12  # episodes; columns of the longest completion
ENDS = {"full": [None] * ROWS, "ragged": [3, 12, None, 7, 1, 5, None, 11]}  # tokens, EOS included
VF_COEF = 0.1
OURS = {"beta": 0.05, "center": False, "critic_init": "base", "gamma": 0.99, "lam": 0.9}
THEIRS = {
    "response_length": WIDTH,
    "stop_token": "eos",
    "num_ppo_epochs": 1,
    "kl_coef": OURS["beta"],
    "gamma": OURS["gamma"],
    "lam": OURS["lam"],
    "vf_coef": VF_COEF,
    "missing_eos_penalty": 1.0,
    "cliprange": 0.2,
    "cliprange_value": 0.2,
}


def same(ours, theirs, **options):
    tolerance = {"rtol": 1e-5, "atol": 1e-5} | options
    torch.testing.assert_close(ours, theirs, check_dtype=False, **tolerance)


# --- one case on both sides ---------------------------------------------------------------------


def new_models(tokenizer) -> dict:
    """Policy, reference, critic and reward model: small Llamas of different random weights."""
    from transformers import LlamaForSequenceClassification

    from bench.steps.base import small_llama
    from bench.studies import load

    torch.manual_seed(0)
    models = {name: small_llama(load("tiny").model, tokenizer) for name in ("policy", "reference")}
    for name in ("critic", "reward"):
        config = copy.deepcopy(models["policy"].config)
        config.num_labels = 1
        models[name] = LlamaForSequenceClassification(config)
    for model in models.values():
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.15)
    return {name: model.eval() for name, model in models.items()}


def moved(models, step: float) -> dict:
    """Weights of policy and critic, each a random step of this size later."""
    weights = {name: copy.deepcopy(models[name].state_dict()) for name in ("policy", "critic")}
    torch.manual_seed(1)
    for tensor in [t for state in weights.values() for t in state.values()]:
        tensor.add_(torch.randn_like(tensor), alpha=step)
    return weights


def drawn(tokenizer, policy, ends):
    """Samples of random tokens, prompts of 2 to 6 tokens; ``ends``: the length of each, or None."""
    torch.manual_seed(2)
    words = torch.randint(3, len(tokenizer), (ROWS, WIDTH)).tolist()
    prompts = [row[: 2 + i % 5] for i, row in enumerate(words)]
    eos = tokenizer.eos_token_id
    rows = [w if end is None else [*w[: end - 1], eos] for w, end in zip(words, ends, strict=True)]
    samples = forced(tokenizer, prompts, rows, "cpu")
    ended = torch.tensor([end is not None for end in ends])
    with torch.no_grad():
        return replace(samples, logps=completion_logps(policy, samples), ended=ended)


def trl(case: dict, folder: Path, home: Path) -> dict:
    """TRL's numbers for a case."""
    given, out, script = (
        folder / "case.pt",
        folder / "trl.pt",
        Path(__file__).with_name("trl_replay.py"),
    )
    torch.save(case, given)
    paths = os.pathsep.join([str(script.parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, script, home, given, out],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out)


def ours(case: dict) -> SimpleNamespace:
    """Our numbers: the rollout, then the losses of the moved models."""
    models = copy.deepcopy(case["models"])
    roles = Copies(*(models[name] for name in ("policy", "reference", "critic", "reward")))
    ledger = Ledger()
    run = SimpleNamespace(
        settings=Settings(**OURS), seed=0, tokenizer=None, prompts=[], ledger=ledger
    )
    ppo = PPO(run, roles)
    with ledger.phase("score"):
        rollout = ppo.score(case["samples"])
    for name, weights in case["moved"].items():
        models[name].load_state_dict(weights)
    with ledger.phase("update"):
        losses = ppo.gradients(rollout)
    return SimpleNamespace(ppo=ppo, rollout=rollout, losses=losses)


def both(tokenizer, ends, folder, home, step=0.1, **settings) -> SimpleNamespace:
    """A case on both sides; ``trl`` holds TRL's numbers."""
    models = new_models(tokenizer)
    samples = drawn(tokenizer, models["policy"], ends)
    settings = THEIRS | {"per_device_train_batch_size": ROWS} | settings
    case = {"models": models, "tokenizer": tokenizer, "samples": samples, "settings": settings}
    case["moved"] = moved(models, step)
    theirs = trl(case, folder, home)
    return SimpleNamespace(models=models, mask=samples.mask, trl=theirs, **vars(ours(case)))


@pytest.fixture(scope="session")
def trl112(tmp_path_factory) -> Path:
    """The folder with TRL 1.12: PREFBENCH_TRL112, or one filled from the package index."""
    if "PREFBENCH_TRL112" in os.environ:
        return Path(os.environ["PREFBENCH_TRL112"])
    if os.environ.get("PREFBENCH_NETWORK") != "1":
        pytest.skip("set PREFBENCH_NETWORK=1 to run, or PREFBENCH_TRL112 to TRL 1.12's folder")
    home = tmp_path_factory.mktemp("trl112")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", home]
    subprocess.run([*pip, "trl==1.12.0"], check=True)
    return home


@pytest.fixture(scope="module")
def case(tokenizer, trl112, tmp_path_factory):
    """case(name, ...): that case on both sides, computed once."""

    @cache
    def made(name, **options):
        folder = tmp_path_factory.mktemp(name)
        return both(tokenizer, ENDS[name], folder, trl112, **options)

    return made


@pytest.fixture
def full(case):
    return case("full")


@pytest.fixture
def ragged(case):
    return case("ragged")


@pytest.fixture(params=["full", "ragged"])
def either(request, case):
    return case(request.param)


# --- our numbers by TRL's definitions ------------------------------------------------------------


def bessel(mask) -> float:
    """TRL whitens with the unbiased variance, n / (n - 1) of ours."""
    n = mask.sum().item()
    return ((n - 1) / n) ** 0.5


def one_longer(mask) -> torch.Tensor:
    """The real tokens and the column after EOS (what TRL's ``padding_mask_p1`` leaves)."""
    return torch.cat([mask[:, :1], mask[:, :-1]], 1) | mask


def one_step_more(got) -> tuple:
    """(rewards, values, advantages, returns) of our functions, with a step after EOS."""
    rollout, mask = got.rollout, one_longer(got.mask)
    with torch.no_grad():
        values = token_scores(got.models["critic"], rollout.samples)[:, :-1] * mask
    rewards = token_rewards(rollout.scores, rollout.logps, rollout.ref_logps, mask, OURS["beta"])
    return rewards, values, *gae(rewards, values, mask, OURS["gamma"], OURS["lam"])


def as_trl_has_it(got):
    """Our rollout with TRL's advantages, out of our functions."""
    advantages = one_step_more(got)[2]
    return replace(got.rollout, advantages=whiten(advantages, got.mask) * bessel(got.mask))


def critic_loss(got) -> torch.Tensor:
    """Our value loss of the moved critic, with a step after EOS."""
    _, values, _, returns = one_step_more(got)
    mask = one_longer(got.mask)
    now = got.ppo.roles.values(got.rollout.samples) * mask
    return value_loss(now, values, returns, mask, THEIRS["cliprange_value"])


def weighted(means, mask, order) -> float:
    """The mean over all tokens, from the means over micro-batches."""
    tokens = mask.sum(1)[order].view(len(means), -1).sum(1)
    return ((means * tokens).sum() / tokens.sum()).item()


# --- where both mean the same -------------------------------------------------------------------


def test_log_probs_of_policy_and_reference(either):
    """TRL divides logits by temperature + 1e-7, ours by nothing: the same at temperature 1."""
    same(either.rollout.logps, either.trl["logprobs"] * either.mask)
    same(either.rollout.ref_logps, either.trl["ref_logprobs"] * either.mask)


def test_kl_is_the_plain_log_ratio(either):
    same(either.rollout.logps - either.rollout.ref_logps, either.trl["kl"])


def test_scores_with_the_penalty_for_a_missing_end(either):
    """TRL reads the token before the first pad, ours the mask's last: the same, as pad != EOS."""
    same(either.rollout.scores, either.trl["scores"])


def test_values_before_each_token(either):
    same(either.rollout.values, either.trl["values"] * either.mask)


def test_rewards_advantages_and_returns_of_full_episodes(full):
    got = full.rollout
    rewards = token_rewards(got.scores, got.logps, got.ref_logps, full.mask, OURS["beta"])
    advantages, returns = gae(rewards, got.values, full.mask, OURS["gamma"], OURS["lam"])
    same(rewards, full.trl["rewards"])
    same(advantages, full.trl["raw_advantages"])
    same(returns, full.trl["returns"])
    same(got.returns, full.trl["returns"])


@pytest.mark.parametrize("step", [0.0, 0.1])
def test_losses_of_full_episodes(case, step):
    """On the rollout's own weights, where no ratio is clipped, and on moved ones."""
    got = case("full", step=step)
    assert (got.losses["clip_share"] > 0.1) == (step > 0)
    same(got.losses["policy_loss"] * bessel(got.mask), got.trl["pg_loss"].item())
    same(got.losses["value_loss"], got.trl["vf_loss"].item())
    same(got.losses["clip_share"], got.trl["pg_clipfrac"].item())
    same(got.losses["approx_kl"], got.trl["approxkl"].item())


# --- where they differ --------------------------------------------------------------------------


def test_whitening_differs_by_bessel_s_correction(full):
    """Ours is the population's variance: the batch is all there is, so that a lone token is fine.

    The factor scales policy loss and policy gradient and changes nothing else.
    """
    assert bessel(full.mask) < 0.996
    same(full.rollout.advantages * bessel(full.mask), full.trl["advantages"])


def test_gradients_differ_by_the_critic_s_coefficient(either):
    """Ours: each model its own loss, norm and learning rate, so that no coefficient weighs them.

    TRL sums the losses, the critic's times ``vf_coef``, and never clips the gradients' norm.
    """
    either.ppo.gradients(as_trl_has_it(either))
    theirs, weights = either.trl["gradients"], either.ppo.roles.actor_weights
    same([weight.grad for weight in weights], theirs["policy"])
    grads = torch.autograd.grad(critic_loss(either), either.ppo.roles.critic_weights)
    same([grad * VF_COEF for grad in grads], theirs["critic"])


def test_ragged_scores_land_one_position_later(ragged):
    """TRL's score is a reward for what follows EOS, and its critic values the ended text.

    Ours pays at EOS, the last action there is; what follows is worth 0 and has no value to learn.
    With our mask one column longer, our functions give TRL's numbers.
    """
    rewards, values, advantages, returns = one_step_more(ragged)
    same(rewards, ragged.trl["rewards"])
    same(values, ragged.trl["values"])
    same(advantages, ragged.trl["raw_advantages"])
    same(returns, ragged.trl["returns"])
    same(as_trl_has_it(ragged).advantages, ragged.trl["advantages"])
    early = ragged.mask.sum(1) < WIDTH
    assert not torch.allclose((ragged.rollout.returns - returns)[early, 0], torch.zeros(()))


def test_ragged_policy_loss_and_clip_share(ragged):
    """Nothing else differs: on TRL's advantages, ours are TRL's."""
    losses = ragged.ppo.gradients(as_trl_has_it(ragged))
    assert losses["clip_share"] > 0.1
    same(losses["policy_loss"], ragged.trl["pg_loss"].item())
    same(losses["clip_share"], ragged.trl["pg_clipfrac"].item())


def test_ragged_value_loss_counts_one_step_more(ragged):
    same(critic_loss(ragged).item(), ragged.trl["vf_loss"].item())
    assert abs(ragged.losses["value_loss"] - ragged.trl["vf_loss"].item()) > 1e-3


def test_ragged_approximate_kl_is_not_diluted_by_padding(ragged):
    """Ours is a mean over tokens, so that ``kl_stop`` means the same at every length; TRL's, over
    all columns, shrinks with the share of padding."""
    filled = ragged.mask.float().mean().item()
    assert filled < 0.8
    same(ragged.losses["approx_kl"] * filled, ragged.trl["approxkl"].item())


def test_ragged_losses_do_not_depend_on_the_micro_batches(case):
    """Ours is one mean over the minibatch. TRL's is a mean of the micro-batches' means, in which a
    token counts the more the fewer there are beside it: weighted by tokens, it is ours."""
    halves = {"per_device_train_batch_size": ROWS // 2, "gradient_accumulation_steps": 2}
    got = case("ragged", **halves)
    rollout, order = as_trl_has_it(got), got.trl["order"]
    whole = got.ppo.gradients(rollout)["policy_loss"]
    got.ppo.settings = got.ppo.settings.model_copy(update={"micro_batch": 3})
    same(got.ppo.gradients(rollout)["policy_loss"], whole)
    same(weighted(got.trl["pg_loss"], got.mask, order), whole)
    same(weighted(got.trl["vf_loss"], one_longer(got.mask), order), critic_loss(got).item())
    assert abs(got.trl["pg_loss"].mean().item() - whole) > 1e-4
