"""Our pair methods against TRL 1.16's DPOTrainer and ORPOTrainer, on the same ragged pairs.

TRL gets our token ids and reference log-probs (``trl_pairs.py``), and shuffles by the same seed.
"""

import pytest
import torch
import trainings
from test_processes import TORCHRUN, train

from bench.methods import METHODS
from bench.steps.speed import trl_pairs
from bench.training import pair_engine

EPOCHS, STEPS = 6, 30  # 36 pairs in batches of 8, the last of 4
NAMES = ["dpo", "ipo", "orpo", "dpo-lora"]
ACCUMULATED = ["dpo-accumulated", "orpo-accumulated"]  # one pair a pass


def new_run(name, folder, root):
    run = trainings.untrained(name, folder, root)
    run.settings = run.settings.model_copy(update={"epochs": EPOCHS})
    torch.manual_seed(0)
    for key, weight in run.policy.named_parameters():
        if "lora_" in key:  # where one factor is zeros, the other has no gradient
            torch.nn.init.normal_(weight, std=0.05)
    return run


def ours(name, folder, root, monkeypatch):
    """Our trainer, before training."""
    run, made = new_run(name, folder, root), []
    run.validation = []
    with monkeypatch.context() as patch:
        patch.setattr(pair_engine, "fit", lambda trainer, *args, **more: made.append(trainer))
        METHODS[trainings.RUNS[name][0]].train(run)
    return made[0]


def trl(name, folder, root):
    """TRL's trainer of the same model, pairs and settings."""
    run = new_run(name, folder, root)
    rows = pair_engine.with_reference(run, run.pairs)
    return trl_pairs.trainer(trainings.RUNS[name][0], run, rows)


def trained(trainer) -> list:
    return [p for p in trainer.model.parameters() if p.requires_grad]


def weights(trainer) -> torch.Tensor:
    """All trained weights in one vector."""
    return torch.cat([p.detach().flatten() for p in trained(trainer)])


def gradient(trainer) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the first batch."""
    batches = iter(trainer.get_train_dataloader())
    batch = trainer.get_batch_samples(batches, 1, torch.device("cpu"))[0][0]
    loss = trainer.compute_loss(trainer.model.train(), batch)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trained(trainer)])


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_of_a_batch(name, sft_and_reward, tmp_path, monkeypatch):
    loss, own = gradient(ours(name, sft_and_reward, tmp_path, monkeypatch))
    other, theirs = gradient(trl(name, sft_and_reward, tmp_path))
    assert loss == pytest.approx(other, rel=1e-5)
    assert (own - theirs).norm() <= 1e-5 * theirs.norm() and theirs.norm() > 0


def apart(found, expected, start) -> float:
    """The distance of two results of training, as a share of how far it moved the weights."""
    return ((found - expected).norm() / (expected - start).norm()).item()


@pytest.mark.parametrize("name", NAMES + ACCUMULATED)
def test_weights_after_30_steps(name, sft_and_reward, tmp_path, monkeypatch):
    own, other = (
        ours(name, sft_and_reward, tmp_path, monkeypatch),
        trl(name, sft_and_reward, tmp_path),
    )
    start = weights(own)
    for trainer in (own, other):
        trainer.train()
        assert trainer.state.global_step == STEPS
    assert apart(weights(own), weights(other), start) <= 1e-3


@pytest.fixture(scope="module")
def of_two(
    sft_and_reward,
    tmp_path_factory,
):
    """The folder of what two processes have trained."""
    out = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAININGS_EPOCHS", str(EPOCHS))
        train(sft_and_reward, out, ["dpo", "ipo", "orpo"], TORCHRUN)
    return out


@pytest.mark.parametrize("name", ["dpo", "ipo", "orpo"])
def test_two_processes_train_what_trl_trains_in_one(name, of_two, sft_and_reward, tmp_path):
    other = trl(name, sft_and_reward, tmp_path)
    start = weights(other)
    other.train()
    found = torch.load(of_two / f"{name}.pt")
    own = torch.cat([found[key].flatten() for key, _ in other.model.named_parameters()])
    assert apart(own, weights(other), start) <= 1e-3
