"""Sampling and scoring: what is captured while generating equals a fresh forward pass."""

import numpy as np
import pandas as pd
import pytest
import torch

from bench.core.files import spread
from bench.evaluation import samples as measured
from bench.evaluation.samples import distinct_2, distinct_2_by_draw, kl_and_entropy, summarise
from bench.models.draws import draw_token, uniforms
from bench.models.passes import (
    completion_logits,
    completion_logps,
    forced,
    positions,
    sequence_scores,
    token_scores,
)
from bench.models.sampling import NoDistribution, sample
from bench.models.tokens import completion_ids, prompt_ids


def prompts_of(tokenizer):
    """Prompts of different lengths, so that padding on the left matters."""
    words = tokenizer.convert_ids_to_tokens(list(range(10, 30)))
    return [prompt_ids(tokenizer, " ".join(words[:n])) for n in (2, 5, 9, 3)]


def drawn(policy, tokenizer, seed=0, **kwargs):
    draws = uniforms(12, 4, torch.Generator().manual_seed(seed))
    samples = sample(policy, tokenizer, prompts_of(tokenizer), 12, draws, **kwargs)
    assert samples.ended.any() and not samples.mask.all()  # or masks and shrinking go untested
    return samples


def test_captured_logps_equal_a_fresh_forward_pass(policy, tokenizer):
    samples = drawn(policy, tokenizer)
    with torch.no_grad():
        fresh = completion_logps(policy, samples)
    torch.testing.assert_close(samples.logps * samples.mask, fresh, atol=1e-4, rtol=0)


def test_padding_changes_no_sequence(policy, tokenizer):
    """Each row scored alone, without padding, gives what it gave in the batch."""
    samples = drawn(policy, tokenizer)
    prompts, rows = prompts_of(tokenizer), samples.rows()
    with torch.no_grad():
        together = completion_logps(policy, samples).sum(1)
        for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
            ids = torch.tensor([prompt + row])
            logp = policy(ids).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
            alone = logp.gather(1, torch.tensor(row)[:, None]).sum()
            torch.testing.assert_close(together[i], alone, atol=1e-4, rtol=1e-5)


def test_seeds_decide_samples(policy, tokenizer):
    first, again = drawn(policy, tokenizer, 1), drawn(policy, tokenizer, 1)
    other = drawn(policy, tokenizer, 2)
    assert torch.equal(first.completions, again.completions)
    assert first.rows() != other.rows()


def test_tokens_are_drawn_with_their_probabilities():
    """60,000 draws, each frequency within five standard errors; what is impossible never comes."""
    logits = torch.tensor([-torch.inf, 0.0, 1.0, 2.0, -1.0, -torch.inf])
    for temperature in (1.0, 0.5):
        luck = uniforms(1, 60_000, torch.Generator().manual_seed(0))[0]
        drawn, logps = draw_token(logits.expand(60_000, -1), luck, temperature)
        probs = (logits / temperature).softmax(-1)
        found = torch.bincount(drawn, minlength=6) / len(drawn)
        assert ((found - probs).abs() <= 5 * (probs * (1 - probs) / len(drawn)).sqrt()).all()
        assert torch.equal(logps, logits.log_softmax(-1)[drawn])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("draws", [None, torch.full((4, 4), 0.5, dtype=torch.float64)])
def test_logits_that_are_no_numbers_are_refused(bad, draws, policy, tokenizer):
    with torch.no_grad():
        policy.lm_head.bias[-1] = bad
    with pytest.raises(NoDistribution, match="not finite numbers"):
        sample(policy, tokenizer, prompts_of(tokenizer), 4, draws)


def test_a_row_s_draws_do_not_depend_on_the_other_rows(policy, tokenizer):
    """Sampled alone, with its own column of the table, a prompt gets the answer it got in a batch
    whose rows end at different times."""
    draws = uniforms(12, 4, torch.Generator().manual_seed(0))
    together = drawn(policy, tokenizer).rows()
    for i, prompt in enumerate(prompts_of(tokenizer)):
        alone = sample(policy, tokenizer, [prompt], 12, draws[:, i : i + 1])
        assert alone.rows() == [together[i]]


def test_without_draws_the_likeliest_token_is_taken(policy, tokenizer):
    prompt = prompts_of(tokenizer)[0]
    row = sample(policy, tokenizer, [prompt], 6).rows()[0]
    for t, token in enumerate(row):
        with torch.no_grad():
            assert policy(torch.tensor([prompt + row[:t]])).logits[0, -1].argmax() == token


def test_positions_count_from_the_first_real_token():
    attention = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
    assert positions(attention)[0].tolist() == [0, 0, 0, 1, 2]
    assert positions(attention)[1, :4].tolist() == [0, 1, 2, 3]


def test_a_sample_ends_at_eos_and_nothing_follows(policy, tokenizer):
    samples = drawn(policy, tokenizer)
    for row, ended in zip(samples.rows(), samples.ended.tolist(), strict=True):
        assert (tokenizer.eos_token_id in row) == ended
        assert tokenizer.eos_token_id not in row[:-1]
        assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_kl_is_the_brute_force_sum_and_zero_to_itself(policy, tokenizer, monkeypatch):
    import copy

    other = copy.deepcopy(policy)
    with torch.no_grad():
        other.lm_head.weight.add_(0.05 * torch.randn_like(other.lm_head.weight))
    samples = drawn(policy, tokenizer)
    kl, entropy = kl_and_entropy(policy, other, samples)
    with torch.no_grad():
        p = completion_logits(policy, samples).softmax(-1).double()
        q = completion_logits(other, samples).softmax(-1).double()
    mask = samples.mask.bool()
    for i in range(len(kl)):
        rows = zip(p[i][mask[i]], q[i][mask[i]], strict=True)
        assert np.isclose(kl[i], sum((a * (a / b).log()).sum().item() for a, b in rows), atol=1e-4)
    assert np.allclose(kl_and_entropy(policy, policy, samples)[0], 0, atol=1e-6)
    assert (kl > 0).all() and (entropy > 0).all()
    monkeypatch.setattr(measured, "rows_at_once", lambda *_: 3)  # two passes, of 3 rows and of 1
    for whole, parts in zip((kl, entropy), kl_and_entropy(policy, other, samples), strict=True):
        assert np.allclose(whole, parts, atol=1e-5)


def test_scores_are_read_at_the_last_token_as_transformers_does(policy, tokenizer):
    from transformers import LlamaForSequenceClassification

    torch.manual_seed(0)
    config = policy.config
    config.num_labels = 1
    scorer = LlamaForSequenceClassification(config).eval()
    completions = [completion_ids(tokenizer, "the a"), completion_ids(tokenizer, "a")] * 2
    given = forced(tokenizer, prompts_of(tokenizer), completions, "cpu")
    got = sequence_scores(scorer, given)
    for i, (prompt, row) in enumerate(zip(prompts_of(tokenizer), completions, strict=True)):
        with torch.no_grad():
            alone = scorer(torch.tensor([prompt + row])).logits[0, 0]
        torch.testing.assert_close(got[i], alone, atol=1e-4, rtol=1e-4)
    assert token_scores(scorer, given).shape == (4, given.completions.shape[1] + 1)


def test_distinct_2_and_spread():
    assert distinct_2(["a b a b", "a b"]) == 2 / 4
    rows = [{"family": f, "i": i} for f in "xy" for i in range(3)]
    assert [(r["family"], r["i"]) for r in spread(rows, 3)] == [("x", 0), ("y", 0), ("x", 1)]


def test_answers_of_one_draw_are_summed_up_together():
    """One answer to each prompt counts at a time, and standard errors are over prompts."""
    rows = [("p", 0, "a b"), ("q", 0, "a c"), ("p", 1, "a b"), ("q", 1, "a b")]
    gold = [1.0, 3.0, 2.0, 6.0]
    table = pd.DataFrame(rows, columns=["prompt_id", "draw", "completion"])
    table = table.assign(family="x", gold=gold, proxy=0.0, kl=gold, length=2, entropy=1, ended=1)
    assert distinct_2_by_draw(table) == [1.0, 0.5]
    row = summarise(table, ("x",)).set_index("family").loc["all"]
    assert (row.n, row.gold, row.distinct2) == (2, 3.0, 0.75)
    assert row.gold_se == pytest.approx(np.std([1.5, 4.5], ddof=1) / np.sqrt(2))
    assert row.kl_se == row.gold_se
