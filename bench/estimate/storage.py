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
    missing = {
        path: size
        for member in members
        for path, size in artefacts(member, cfg.evaluated).items()
        if not path.exists()
    }
    learning = [n for n in (kept(member) for member in members if not member.files.record.exists())]
    return sum(missing.values()) + sum(sorted(learning)[-jobs:])


def artefacts(member, evaluated: bool) -> dict[Path, float]:
    """Return {path: bytes} of what a run needs and makes."""
    layout, found = member.layout, {}
    own = Weights(layout.cfg)
    for cfg in (layout.cfg.writer, layout.cfg):
        weights = Weights(cfg)
        found |= {cfg.layout.base: weights.base, cfg.layout.sft: weights.sft}
    for label_set in member.reward_models(evaluated):
        found[layout.reward(label_set, member.seed)] = own.reward
    return found | {member.files.record: ANSWERS + own.run * member.arm.trains}


def kept(member) -> float:
    """Return the bytes of a training's checkpoints; a critic is as large as its policy."""
    models = 1 + hasattr(member.arm.settings, "critic_init")
    return KEPT * models * Weights(member.layout.cfg).checkpoint * member.arm.trains
