"""What the schema cannot see of a configuration: names that must exist, values that clash.

Each check raises UserError with one clear line.
"""

from bench.core.names import DEMONSTRATIONS, NAME, ON_POLICY, nearest
from bench.core.schema import UserError
from bench.training.batches import check_rollouts, splits
from bench.worlds import world


def check(cfg) -> None:
    """Every check, of a loaded ``bench.settings.config.Config``."""
    check_model(cfg.model)
    check_curve(cfg)
    check_pool(cfg.pairs)
    check_names(cfg)
    check_study(cfg)
    for name in [*cfg.arms, *cfg.study_arms]:
        check_preference(cfg, cfg.arm(name))
    check_seeds(cfg)
    check_launch(cfg)
    check_shares(cfg)


def check_model(model) -> None:
    """Refuse a model of the hub without a name, a name of none, and weights that nothing trains."""
    if (model.kind == "hub") != (model.hub is not None):
        raise UserError("model.hub names the model of model.kind=hub: set both or neither")
    if model.quantise and model.lora is None:
        raise UserError("model.quantise freezes the weights: set model.lora, which is trained")
    if model.quantise and model.dtype != "bfloat16":
        raise UserError("model.quantise needs model.dtype=bfloat16, in which it computes")


def check_pool(pairs) -> None:
    """Refuse a pool that holds fewer pairs than each seed draws from it."""
    if pairs.pool and pairs.pool < pairs.n:
        raise UserError(f"pairs.pool={pairs.pool} holds fewer pairs than pairs.n={pairs.n}")


def check_names(cfg) -> None:
    """Refuse the name of an arm or study that is no folder's name, or is taken."""
    taken = {*cfg.known_methods, *cfg.computed_arms, *cfg.computed_studies}
    for name in [*cfg.arms, *cfg.studies]:
        if not NAME.fullmatch(name) or name in ("sft", ".", ".."):
            raise UserError(
                f"'{name}' is no name: use letters, digits, '.', '_' and '-'; not 'sft'"
            )
        if name in taken:
            raise UserError(f"'{name}' is the name of a method, or computed: choose another")


def check_study(cfg) -> None:
    """Refuse a study that does not exist."""
    if cfg.study not in cfg.known_studies:
        raise UserError(f"unknown study '{cfg.study}'" + nearest(cfg.study, cfg.known_studies))
    if not cfg.study_arms:
        raise UserError(f"study '{cfg.study}' has no arms: name some in studies.{cfg.study}")


def check_launch(cfg) -> None:
    """Refuse to shard what is not written for it: PPO's models, and adapters, which are small."""
    if cfg.launch.config == "ddp" or cfg.launch.processes == 1:
        return
    ppo = [name for name in cfg.study_arms if cfg.arm(name).method == "ppo"]
    reason = f"arm {ppo[0]} is PPO" if ppo else "model.lora is set" if cfg.model.lora else None
    if reason:
        raise UserError(
            f"launch.config={cfg.launch.config} shards the model, but {reason}: take ddp, or leave "
            "that out of the study"
        )


def check_shares(cfg) -> None:
    """Refuse batches that the processes of a run cannot share, before hours lead up to them."""
    if cfg.launch.processes == 1:
        return
    arms = [cfg.arm(name) for name in cfg.study_arms]
    for arm in arms:
        if arm.preference != DEMONSTRATIONS:  # whose number is not known before they are there
            own = cfg.of(arm.name)
            check_share(cfg, f"arm {arm.name}", arm.settings, arm.n or own.pairs.n)
            if "reward" in arm.needs or cfg.evaluated:
                check_share(cfg, f"reward model of arm {arm.name}", own.reward, own.pairs.n)


def check_share(cfg, name: str, settings, n: int) -> None:
    """The same of one training on ``n`` pairs."""
    count, batch = cfg.launch.processes, getattr(settings, "batch", None)
    try:
        if hasattr(settings, "minibatch"):
            check_rollouts(settings, count)
        elif batch:
            splits(batch, cfg.model.micro_batch, n, count)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def check_seeds(cfg) -> None:
    """Refuse seeds that repeat."""
    if len(set(cfg.seeds)) < len(cfg.seeds) or min(cfg.seeds) < 0:
        raise UserError(f"seeds must differ and be 0 or more; got {list(cfg.seeds)}")


ENDS = (0.0, 1.0)  # of a curve


def check_curve(cfg) -> None:
    """Refuse a curve without the start and the end, between which gains are read."""
    lacking = [f"{end:g}" for end in ENDS if end not in cfg.curve.fractions]
    if lacking:
        raise UserError(
            f"curve.fractions must hold {', '.join(lacking)}: gains are read from 0 to 1"
        )


def check_preference(cfg, arm) -> None:
    """Refuse pairs that no step can make, or that mean another thing than the arm takes."""
    where = f"arms.{arm.name}"
    if not NAME.fullmatch(arm.preference):
        name = f"{where}.preference={arm.preference!r}"
        raise UserError(f"{name} is no name: use letters, digits, '-', '_'")
    made = arm.preference == DEMONSTRATIONS
    if made and "reference" in arm.needs:
        raise UserError(
            f"{where}: {arm.method} needs reference log-probabilities, which demonstrations lack"
        )
    if arm.preference == ON_POLICY and not world(cfg.data.kind).GIVEN_PAIRS:
        raise UserError(
            f"{where}: this testbed's own pairs are sampled from the SFT base: take gold"
        )
    most = cfg.of(arm.name).pairs.n
    if arm.n and not made and arm.n > most:
        raise UserError(f"{where}.n={arm.n} is more than pairs.n, which is {most}")
