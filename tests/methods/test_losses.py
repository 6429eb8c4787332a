"""The losses that TRL computes on our token ids against formulas written out by hand."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from bench.methods import dpo, ipo, kto, orpo, simpo
from bench.models.loading import load_policy, save
from bench.models.passes import tokenised
from bench.studies import load
from bench.training.ledger import Ledger
from bench.training.pair_engine import Answers

PAIRS = [
    {"id": 0, "side": "a", "prompt": "review the", "chosen": "the is a", "rejected": "an but ."},
    {"id": 1, "side": "b", "prompt": "do", "chosen": "a", "rejected": "take then do this ."},
]
REFERENCE = {0: {"a": -9.0, "b": -8.0}, 1: {"a": -11.0, "b": -4.0}}


class Recorder:
    """Stands in for the monitor: keeps each step's metrics."""

    def __init__(self):
        self.rows = []

    def begin(self, total, policy):
        pass

    def step(self, step, metrics, policy):
        self.rows.append(metrics)
        return False


def stepped(module, policy, tokenizer, tmp_path, **settings) -> SimpleNamespace:
    """A run after one optimiser step over both pairs."""
    run = SimpleNamespace(
        name="test",
        policy=copy.deepcopy(policy),
        tokenizer=tokenizer,
        settings=module.Settings(lr=1e-12, batch=2, epochs=1, warmup=0, **settings),
        seed=0,
        root=tmp_path,
        monitor=Recorder(),
        ledger=Ledger(),
        micro_batch=None,
        sft=based(policy, tokenizer, tmp_path / "base"),
        model=load("tiny").model,
        pairs=PAIRS,
        validation=PAIRS,
        reference=REFERENCE,
        reference_logps=lambda pair: (
            REFERENCE[pair["id"]][pair["side"]],
            REFERENCE[pair["id"]]["b" if pair["side"] == "a" else "a"],
        ),
    )
    module.train(run)
    return run


def based(policy, tokenizer, folder):
    """The folder of an SFT base that lies a little apart from the policy."""
    model = copy.deepcopy(policy)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight) * weight.abs().mean())
    save(model, tokenizer, folder)
    return folder


def first_loss(module, policy, tokenizer, tmp_path, **settings):
    """The loss of that step, as TRL reports it."""
    run = stepped(module, policy, tokenizer, tmp_path, **settings)
    # a learning rate of nearly 0 leaves the policy as it was
    assert run.validation_loss == pytest.approx(run.monitor.rows[0]["loss"], abs=1e-5)
    return run.monitor.rows[0]["loss"], tokenised(tokenizer, PAIRS)


def logps(policy, prompt, completion):
    """(T,) log-probs of the completion's tokens, by one unpadded forward pass."""
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        table = policy(ids).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
    return table.gather(1, torch.tensor(completion)[:, None])[:, 0]


def ratios(policy, rows):
    """Per pair: (chosen, rejected) log-ratios to the reference, summed, and their lengths."""
    for pair, row in zip(PAIRS, rows, strict=True):
        own, other = pair["side"], "b" if pair["side"] == "a" else "a"
        both = [
            (logps(policy, row["prompt_ids"], row[f"{k}_ids"]), REFERENCE[pair["id"]][side])
            for k, side in (("chosen", own), ("rejected", other))
        ]
        yield [(lp.sum().item() - ref, len(lp)) for lp, ref in both]


def test_dpo_is_equation_7(policy, tokenizer, tmp_path):
    loss, rows = first_loss(dpo, policy, tokenizer, tmp_path, beta=0.3)
    expected = [
        -F.logsigmoid(torch.tensor(0.3 * (c - r))).item() for (c, _), (r, _) in ratios(policy, rows)
    ]
    assert loss == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_dpo_without_reference_ignores_it(policy, tokenizer, tmp_path):
    loss, rows = first_loss(dpo, policy, tokenizer, tmp_path, beta=0.3, reference_free=True)
    expected = []
    for row in rows:
        c, r = (logps(policy, row["prompt_ids"], row[f"{k}_ids"]) for k in ("chosen", "rejected"))
        expected.append(-F.logsigmoid(0.3 * (c.sum() - r.sum())).item())
    assert loss == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_ipo_is_equation_17_with_mean_log_ratios(policy, tokenizer, tmp_path):
    loss, rows = first_loss(ipo, policy, tokenizer, tmp_path, beta=0.2)
    expected = [(c / n - r / m - 1 / (2 * 0.2)) ** 2 for (c, n), (r, m) in ratios(policy, rows)]
    assert loss == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_ipo_can_sum_its_log_ratios(policy, tokenizer, tmp_path):
    loss, rows = first_loss(ipo, policy, tokenizer, tmp_path, beta=0.2, log_ratios="sum")
    expected = [(c - r - 1 / (2 * 0.2)) ** 2 for (c, _), (r, _) in ratios(policy, rows)]
    assert loss == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_simpo_is_equation_6(policy, tokenizer, tmp_path):
    loss, rows = first_loss(simpo, policy, tokenizer, tmp_path, beta=3.0, gamma=0.7)
    expected = []
    for row in rows:
        own, other = (
            logps(policy, row["prompt_ids"], row[f"{side}_ids"]).mean().item()
            for side in ("chosen", "rejected")
        )
        expected.append(math.log1p(math.exp(-(3.0 * (own - other) - 0.7))))
    assert len({len(row["chosen_ids"]) for row in rows}) > 1  # lengths differ, so they matter
    assert loss == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_simpo_is_that_of_trl():
    """TRL takes log-probs that are means over tokens."""
    from trl.experimental.cpo import CPOTrainer

    torch.manual_seed(0)
    own, other = -20 * torch.rand(2, 64)
    tokens = torch.randint(1, 9, (2, 64))
    answers = [
        Answers(logps, n, torch.zeros(64)) for logps, n in zip((own, other), tokens, strict=True)
    ]
    settings = {"alpha": 0.0, "loss_type": "simpo", "simpo_gamma": 0.7, "beta": 3.0}
    theirs = SimpleNamespace(
        **settings, label_smoothing=0.0, accelerator=SimpleNamespace(device="cpu")
    )
    means = own / tokens[0], other / tokens[1]
    expected, *_ = CPOTrainer.cpo_loss(theirs, *means)
    torch.testing.assert_close(simpo.loss(*answers, beta=3.0, gamma=0.7), expected)


def log_odds(mean_logp):
    """log(p / (1 - p)) for p = exp(mean log-prob a token)."""
    return mean_logp - math.log1p(-math.exp(mean_logp))


@pytest.mark.parametrize("prompt", [True, False])
def test_orpo_is_equations_6_and_7(policy, tokenizer, tmp_path, prompt):
    """TRL's likelihood term covers prompt and chosen completion, a mean over the batch's tokens;
    the paper's the completion, a mean over its own tokens."""
    loss, rows = first_loss(orpo, policy, tokenizer, tmp_path, beta=0.7, prompt=prompt)
    nll, odds = [], []
    for row in rows:
        whole = row["prompt_ids"] + row["chosen_ids"]
        if prompt:
            nll += (-logps(policy, whole[:1], whole[1:])).tolist()
        else:
            nll.append(-logps(policy, row["prompt_ids"], row["chosen_ids"]).mean().item())
        c, r = (logps(policy, row["prompt_ids"], row[f"{k}_ids"]) for k in ("chosen", "rejected"))
        gap = log_odds(c.mean().item()) - log_odds(r.mean().item())
        odds.append(-F.logsigmoid(torch.tensor(gap)).item())
    expected = sum(nll) / len(nll) + 0.7 * sum(odds) / 2
    assert loss == pytest.approx(expected, rel=1e-4)


def test_accumulation_equals_one_large_batch():
    from bench.training.trainer import splits

    assert splits(64, None) == (64, 1)
    assert splits(12, 5) == (4, 3)
    assert splits(7, 3) == (1, 7)


def test_kto_is_equation_8_with_the_kl_of_mismatched_answers(policy, tokenizer, tmp_path):
    loss, rows = first_loss(kto, policy, tokenizer, tmp_path, beta=0.3, undesirable=0.5)
    (first, second), base = rows, load_policy(tmp_path / "base", load("tiny").model)
    ratio = []  # of each pair's answers to the other pair's prompt, from the SFT base
    for row, other in ((first, second), (second, first)):
        for side in ("chosen_ids", "rejected_ids"):
            both = [logps(model, row["prompt_ids"], other[side]).sum() for model in (policy, base)]
            ratio.append((both[0] - both[1]).item())
    kl = max(0.0, sum(ratio) / len(ratio))
    assert kl > 0.01
    expected = []
    for (good, _), (bad, _) in ratios(policy, rows):
        expected += [1 - sigmoid(0.3 * (good - kl)), 0.5 * (1 - sigmoid(0.3 * (kl - bad)))]
    assert loss == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
