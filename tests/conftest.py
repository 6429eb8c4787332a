"""Shared by all tests: nothing from a network, small models, one thread."""

import os
import shutil
import subprocess

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

LONG = (
    "test_slurm",
    "test_dag",
    "test_survives",
    "test_accepted",
    "test_processes",
    "test_browser",
    "test_flops",
    "test_hub",
)


def pytest_collection_modifyitems(items):
    """Tests that need a GPU or a package index say so when they are skipped; files that take
    minutes come first, so that of two workers none is left with one of them at the end."""
    from bench.core.machine import gpus

    missing = {
        "gpu": gpus() == 0 and "no CUDA device here",
        "network": os.environ.get("PREFBENCH_NETWORK") != "1" and "set PREFBENCH_NETWORK=1 to run",
    }
    for item in items:
        for name, reason in missing.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
    rank = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture
def disk_of(tmp_path):
    """A function that mounts a disk of a size, '2M', and returns its folder."""
    place = tmp_path / "small"
    place.mkdir()

    def mounted(size: str):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if os.geteuid() or not shutil.which("mount") or subprocess.run(mount).returncode:
            pytest.skip("needs root, to mount a small disk")
        return place

    yield mounted
    if place.is_mount():
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def tokenizer():
    """The micro world's tokenizer."""
    from bench.steps.base import word_tokenizer
    from bench.studies import load

    return word_tokenizer(load("tiny").slice("base"))


def ending(policy, tokenizer, bias=4.0):
    """The policy with EOS likely enough that some completions end early and some do not."""
    import torch

    weights = torch.zeros(policy.config.vocab_size)
    weights[tokenizer.eos_token_id] = bias
    policy.lm_head.bias = torch.nn.Parameter(weights, requires_grad=False)
    return policy


@pytest.fixture
def policy(tokenizer):
    """A small Llama with fixed random weights, large enough for its probabilities to differ."""
    import torch

    from bench.steps.base import small_llama
    from bench.studies import load

    torch.manual_seed(0)
    model = small_llama(load("tiny").model, tokenizer)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return ending(model.eval(), tokenizer)


@pytest.fixture(scope="session")
def sft_and_reward(tokenizer, tmp_path_factory):
    """A folder with an SFT base, a reward model and a reward adapter of random weights."""
    import torch
    from trainings import LORA, PLAIN

    from bench.models.loading import adapt, load_scorer, save
    from bench.steps.base import small_llama

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    base = small_llama(PLAIN, tokenizer)
    for weight in base.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    save(base, tokenizer, root / "sft")
    save(load_scorer(root / "sft", PLAIN), tokenizer, root / "reward")
    save(adapt(load_scorer(root / "sft", LORA), LORA, "SEQ_CLS"), tokenizer, root / "adapter")
    return root
