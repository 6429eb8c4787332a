"""Estimate the disk that a study still needs, in bytes: weights, checkpoints, answers."""

from pathlib import Path

from bench.core import disk
from bench.core.schema import UserError
from bench.estimate.memory import SIZES, WIDE, parameters, trained
from bench.estimate.shapes import of_policy
from bench.models.flops import adapters

ADAM = 3  # a trained weight and its two moments
KEPT = 3  # checkpoints of a training: the two newest, and the one that is being written
ANSWERS = 4e6  # a run beside its model: log, curve, answers, evaluation (2 to 4 MB on `micro`)


class Weights:
    """Bytes that the weights of a testbed's models take on the disk.

    base, sft: the whole model; run, reward: what a training adds, an adapter or all weights;
    checkpoint: of a training of one model.
    """

    def __init__(self, cfg):
        shape, tied, _ = of_policy(cfg)
        model, own = cfg.model, trained(shape, cfg.model)
        whole = WIDE * sum(parameters(shape, tied))
        self.base = SIZES[model.dtype] / WIDE * whole
        self.run = WIDE * (shape.layers - own.first) * adapters(own) if model.lora else whole
        self.sft = (self.base if model.lora else whole) * bool(cfg.sft.steps)  # or linked
        self.reward = self.run * (cfg.reward.model is None)
        self.checkpoint = ADAM * self.run


def check(cfg, jobs: int) -> None:
    """Raise UserError unless the disk has room for the study; jobs: how many run at once.

    Checks nothing if the shape of a model is not known before its download.
    """
    try:
        need = needed(cfg, jobs)
    except UserError:
        return
    disk.check(cfg.layout.root, need, f"study '{cfg.study}'")


def needed(cfg, jobs: int) -> float:
    """Return the bytes of all that the study has not made yet, and of the checkpoints of the
    trainings that run at once. Raises UserError if the shape of a model is unknown."""
    members = [*cfg.members, *cfg.tried]
    made = {}
    settings = {id(own): own for member in members for own in settings_of(member)}
    weights = {key: Weights(own) for key, own in settings.items()}
    for own in settings.values():
        of_own = weights[id(own)]
        made |= {own.layout.base: of_own.base, own.layout.sft: of_own.sft}
    learning = []
    for member in members:
        own = weights[id(member.layout.cfg)]
        made |= artefacts(member, own, cfg.evaluated)
        if not member.files.record.exists():
            learning.append(kept(member, own))
    missing = sum(size for path, size in made.items() if not path.exists())
    return missing + sum(sorted(learning)[-jobs:])


def settings_of(member) -> tuple:
    """Return the settings of a run, and of the SFT base that wrote its pairs."""
    return member.layout.cfg.writer, member.layout.cfg


def artefacts(member, weights: Weights, evaluated: bool) -> dict[Path, float]:
    """Return {path: bytes} of a run and of the reward models that it needs."""
    rewards = member.reward_models(evaluated)
    found = {member.layout.reward(name, member.seed): weights.reward for name in rewards}
    return found | {member.files.record: ANSWERS + weights.run * member.arm.trains}


def kept(member, weights: Weights) -> float:
    """Return the bytes of a training's checkpoints; a critic is as large as its policy."""
    models = 1 + hasattr(member.arm.settings, "critic_init")
    return KEPT * models * weights.checkpoint * member.arm.trains
