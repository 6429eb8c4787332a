"""The trained policy against the optimum that is known in closed form.

Completions of one or two tokens over a small vocabulary, with a known reward r, can be counted out.
The optimum of RLHF's objective, and of DPO's loss on all pairs, is pi*(y) ~ pi_ref(y) exp(r(y) /
beta) (Rafailov et al. 2023, 2305.18290, eq. 4); that of IPO's is pi_ref(y) exp(P(y) / tau), P(y)
being the chance that y is preferred to a draw from pi_ref (Azar et al. 2023, 2310.12036, eq. 10).
Run with ``-s`` to see the distances.
"""

import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from bench.methods import dpo, ipo, ppo
from bench.methods.ppo.roles import Copies
from bench.methods.ppo.trainer import PPO
from bench.models.passes import completion_logps, forced
from bench.training.ledger import Ledger

PROMPT = [0, 1]  # of one token alone, the model cannot tell how often it has been repeated
NEVER = -1  # an EOS that is never drawn: all completions have one length


def tokenizer_of(eos: int):
    return SimpleNamespace(
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=eos,
        chat_template=None,
        encode=lambda *args, **kwargs: PROMPT[1:],
    )


def llama(kind, vocabulary, seed):
    """A policy or a scorer of a few thousand parameters."""
    import transformers

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, num_attention_heads=2, num_labels=1, pad_token_id=None, **sizes
    )
    model = getattr(transformers, f"LlamaFor{kind}")(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.35)
    return model


class World:
    """All completions of up to a length, their reward, and a reference policy.

    ends: whether token 2 is an EOS; else all have full length.
    """

    def __init__(self, length: int, beta: float, vocabulary: int = 8, ends: bool = False):
        self.length, self.beta, self.vocabulary = length, beta, vocabulary
        self.tokenizer = tokenizer_of(2 if ends else NEVER)
        rows = itertools.product(range(vocabulary), repeat=length)
        self.outcomes = list(dict.fromkeys(map(self.until_eos, rows)))
        generator = torch.Generator().manual_seed(length)
        self.reward = torch.randn(len(self.outcomes), generator=generator)
        self.reference = llama("CausalLM", vocabulary, seed=5)
        rows = [list(row) for row in self.outcomes]
        self.samples = forced(self.tokenizer, [PROMPT] * len(rows), rows, "cpu")
        self.logref = self.logps(self.reference).detach()

    def until_eos(self, row: tuple[int, ...]) -> tuple[int, ...]:
        eos = self.tokenizer.eos_token_id
        return row[: row.index(eos) + 1] if eos in row else row

    def logps(self, policy) -> torch.Tensor:
        """(N,) log-prob of each completion."""
        return completion_logps(policy, self.samples).sum(1)

    def index(self, samples) -> torch.Tensor:
        """(B,) where each completion stands among the outcomes."""
        place = {row: i for i, row in enumerate(self.outcomes)}
        return torch.tensor([place[tuple(row)] for row in samples.rows()])

    @property
    def optimum(self) -> torch.Tensor:
        return (self.logref + self.reward / self.beta).softmax(0)

    @property
    def preferred(self) -> torch.Tensor:
        """(N, N) Bradley-Terry probability that the row's completion is preferred."""
        return torch.sigmoid(self.reward[:, None] - self.reward[None])


def tv(p: torch.Tensor, q: torch.Tensor) -> float:
    """Total variation distance."""
    return 0.5 * (p - q).abs().sum().item()


def check(world: World, policy, optimum: torch.Tensor, what: str, most: float = 0.03) -> None:
    """The optimum lies far from where training starts and from greed, and was reached."""
    with torch.no_grad():
        found = world.logps(policy).exp()
    away = tv(world.logref.exp(), optimum)
    greed = tv(F.one_hot(optimum.argmax(), len(optimum)).float(), optimum)
    left = tv(found, optimum)
    print(f"\n{what}: TV {left:.3f} (reference {away:.2f}, argmax {greed:.2f})")
    assert away >= 0.25 and greed >= 0.3
    assert left <= most


# --- PPO ----------------------------------------------------------------------------------------


class Known(Copies):
    """The four models, the reward being a table."""

    def __init__(self, world: World, policy):
        super().__init__(
            policy,
            world.reference,
            *(llama("SequenceClassification", world.vocabulary, s) for s in (1, 2)),
        )
        self.world = world

    def scores(self, samples):
        return self.world.reward[self.world.index(samples)]


CASES_OF_PPO = [(1, 0.4, 150, False), (2, 0.7, 250, False), (2, 0.5, 250, True)]


@pytest.mark.parametrize("length,beta,updates,ends", CASES_OF_PPO)
def test_ppo_reaches_the_optimum(length, beta, updates, ends):
    world = World(length, beta, ends=ends)
    policy = copy.deepcopy(world.reference).requires_grad_(True)
    settings = ppo.Settings(
        lr=3e-3,
        critic_lr=3e-3,
        decay=1.0,
        warmup=0,
        beta=beta,
        lam=1.0,
        missing_eos_penalty=0,
        batch=512,
        minibatch=512,
        critic_init="base",
    )
    run = SimpleNamespace(
        settings=settings,
        seed=1,
        tokenizer=world.tokenizer,
        prompts=[""] * settings.batch * updates,
        decode=SimpleNamespace(max_new_tokens=length),
        cuda_graph=False,
        ledger=Ledger(),
    )
    trainer = PPO(run, Known(world, policy))
    for number in range(1, updates + 1):
        trainer.update(number)
    lengths = "up to " * ends + str(length)
    check(world, policy, world.optimum, f"PPO, {lengths} token(s)")


# --- DPO and IPO --------------------------------------------------------------------------------


class Unwatched:
    """Stands in for the monitor."""

    def begin(self, total, policy):
        pass

    def step(self, step, metrics, policy):
        return False


def weighted(world: World, copies: int) -> list[tuple[int, int]]:
    """All pairs, each order in proportion to its Bradley-Terry probability, of ``copies``."""
    n, rows = len(world.outcomes), []
    for a, b in itertools.combinations(range(n), 2):
        wins = round(copies * world.preferred[a, b].item())
        rows += [(a, b)] * wins + [(b, a)] * (copies - wins)
    return rows


def drawn(world: World, size: int) -> list[tuple[int, int]]:
    """Pairs of independent draws from the reference, labelled by Bradley-Terry draws."""
    generator = torch.Generator().manual_seed(0)
    pairs = world.logref.exp().multinomial(2 * size, True, generator=generator).view(-1, 2)
    first = torch.rand(size, generator=generator) < world.preferred[pairs[:, 0], pairs[:, 1]]
    return torch.where(first[:, None], pairs, pairs.flip(1)).tolist()


def trained(module, world: World, pairs, where, **settings):
    """The policy after training on pairs of outcomes' indices, by the method's own ``train``."""
    from bench.training import pair_engine

    policy = copy.deepcopy(world.reference)
    outcomes = [list(row) for row in world.outcomes]
    rows = [
        {"prompt_ids": PROMPT, "chosen_ids": outcomes[c], "rejected_ids": outcomes[r]}
        for c, r in pairs
    ]
    tmp_path, tokenizer, monkeypatch = where
    monkeypatch.setattr(pair_engine, "tokenised", lambda tokenizer, pairs: rows[: len(pairs)])
    shared = {"lr": 8e-3, "batch": 600, "steps": 250, "warmup": 0, "epochs": 1, "decay": 0.7}
    run = SimpleNamespace(
        name="test",
        policy=policy,
        tokenizer=tokenizer,
        settings=SimpleNamespace(**shared, **settings),
        seed=0,
        root=tmp_path,
        monitor=Unwatched(),
        ledger=Ledger(),
        micro_batch=None,
        pairs=pairs,
        validation=[],
        reference_logps=lambda pair: (world.logref[pair[0]].item(), world.logref[pair[1]].item()),
    )
    module.train(run)
    return policy


def pairs_of(world: World, kind: str):
    """(pairs, the chance that each completion is preferred to another of the pairs' source)."""
    if kind == "all":
        return weighted(world, 100), world.preferred.mean(1)
    return drawn(world, 100_000), world.preferred @ world.logref.exp()


@pytest.fixture
def where(tmp_path, tokenizer, monkeypatch):
    return tmp_path, tokenizer, monkeypatch


CASES = pytest.mark.parametrize("kind,length,vocabulary", [("all", 2, 4), ("sample", 1, 8)])


@CASES
def test_dpo_reaches_the_optimum(kind, length, vocabulary, where):
    world = World(length, 0.6 if length == 2 else 0.4, vocabulary)
    of_dpo = {"beta": world.beta, "reference_free": False}
    policy = trained(dpo, world, pairs_of(world, kind)[0], where, **of_dpo)
    check(world, policy, world.optimum, f"DPO, {kind}, {length} token(s)")


@CASES
def test_summed_ipo_reaches_the_optimum(kind, length, vocabulary, where):
    world, tau = World(length, 0.4, vocabulary), 0.09
    pairs, chance = pairs_of(world, kind)
    policy = trained(ipo, world, pairs, where, beta=tau, log_ratios="sum")
    optimum = (world.logref + chance / tau).softmax(0)
    check(world, policy, optimum, f"IPO, {kind}, {length} token(s)")
