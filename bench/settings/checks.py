"""Check what the types of the settings cannot: that names exist and that values fit together.

Each check raises UserError with one line that names the cause and the remedy.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.core.hub import file_format
from bench.core.names import (
    DEMONSTRATIONS,
    NAME,
    ON_POLICY,
    WRITTEN,
    LabelSet,
    nearest,
    parsed,
    pool_of,
)
from bench.core.schema import UserError
from bench.methods import head_of
from bench.models.loading import MODEL_FILES, holds_model
from bench.settings.config import OWN
from bench.settings.overrides import merge
from bench.settings.validation import checked
from bench.training.batches import check_rollouts, known_steps, rows_in_pass, splits
from bench.worlds import world


def check(cfg) -> None:
    """Run every check on a ``bench.settings.config.Config``."""
    check_curve(cfg)
    check_room(cfg)
    check_pool(cfg.pairs)
    check_names(cfg)
    check_study(cfg)
    check_model(cfg.model)
    check_candidates(cfg)
    check_warmup("base", cfg.base)
    check_warmup("sft", cfg.sft)
    check_demonstrations(cfg)
    check_sources(cfg)
    check_provenance(cfg)
    check_batches(cfg)
    for name in [*cfg.arms, *cfg.study_arms]:
        check_model(cfg.of(name).model)
        check_written(cfg, cfg.arm(name))
        check_preference(cfg, cfg.arm(name))
        check_writer(cfg, cfg.arm(name))
    check_seeds(cfg)
    check_launch(cfg)
    check_graph(cfg)
    check_slots(cfg)
    check_shares(cfg)
    check_critic(cfg)
    check_checkpoints(cfg)


def check_model(model) -> None:
    """Refuse kind hub without model.hub, or the reverse, and 4-bit weights without LoRA."""
    if (model.kind == "hub") != (model.hub is not None):
        raise UserError("model.hub names the model for model.kind=hub: set both or neither")
    if model.kind == "llama" and model.hidden % (2 * model.heads):
        raise UserError(
            f"model.hidden={model.hidden} is no multiple of twice model.heads={model.heads}, as "
            "rotary positions ask: change one"
        )
    if model.quantise and model.lora is None:
        raise UserError("model.quantise freezes all weights: set model.lora, to train adapters")
    if model.quantise and model.dtype != "bfloat16":
        raise UserError("model.quantise computes in bfloat16: set model.dtype=bfloat16")


def check_room(cfg) -> None:
    """Refuse a context that an answer fills, and a base of random weights."""
    if cfg.model.kind == "llama" and cfg.model.context <= cfg.decode.max_new_tokens:
        raise UserError(
            f"model.context={cfg.model.context} leaves no room for a prompt beside "
            f"decode.max_new_tokens={cfg.decode.max_new_tokens}: raise the one or lower the other"
        )
    if cfg.model.kind == "llama" and not cfg.base.steps:
        raise UserError("base.steps=0 leaves a model of random weights: set base.steps")


def check_warmup(name: str, training) -> None:
    """Refuse a warm-up longer than a training of a given length."""
    if 0 < training.steps < training.warmup:
        raise UserError(
            f"{name}.warmup={training.warmup} is more than its {training.steps} steps: lower it"
        )


def check_demonstrations(cfg) -> None:
    """Refuse a batch of SFT that is larger than its data."""
    most = getattr(cfg.data, "demonstrations", None)
    if most and cfg.sft.steps and cfg.sft.batch > most:
        raise UserError(
            f"sft.batch={cfg.sft.batch} is more than data.demonstrations={most}: lower it"
        )


def check_batches(cfg) -> None:
    """Refuse batches larger than the data, and warm-ups longer than the training, of the study's
    arms that learn from as many pairs as usual.

    Arms with fewer pairs, which studies compute, have the batches of the others.
    """
    usual = [
        arm
        for arm in map(cfg.arm, cfg.study_arms)
        if not (arm.n or arm.preference == DEMONSTRATIONS or pool_of(arm.preference) in WRITTEN)
    ]
    found = [(name, *own) for arm in usual for name, own in trainings(cfg, arm).items()]
    large = {
        f"{name}.batch={settings.batch}": rows
        for name, settings, n in found
        if getattr(settings, "batch", 1) > (rows := rows_in_pass(settings, n))
    }
    refuse_larger(large, "rows of a pass", "pairs.n")
    long = {
        f"{name}.warmup={settings.warmup}": steps
        for name, settings, n in found
        if (steps := known_steps(settings, n)) and settings.warmup > steps
    }
    refuse_larger(long, "steps of a training", "epochs")


def refuse_larger(found: dict[str, int], of: str, other: str) -> None:
    """Raise UserError if there are settings that are larger than they may be, {setting: most}."""
    if found:
        each = ", ".join(f"{setting} > {most:,}" for setting, most in found.items())
        it = "it" if len(found) == 1 else "them"
        raise UserError(f"{each} (the {of}): lower {it}, or raise {other}")


def trainings(cfg, arm) -> dict[str, tuple]:
    """Return {section: (settings, pairs)} of what an arm trains on its pairs."""
    own, cfg = arm.settings, cfg.of(arm.name)
    n = arm.listed(cfg.pairs.n)
    found = {arm.method: (own, n)}
    if "reward" in arm.needs and not (cfg.reward.model or arm.reward_n):
        found["reward"] = cfg.reward, n
    return found


def check_method(cfg, method: str, where: str) -> None:
    """Refuse a method that does not exist."""
    if method not in cfg.known_methods:
        known = nearest(method, cfg.known_methods)
        raise UserError(f"unknown method '{method}' in {where}" + known)


def check_sources(cfg) -> None:
    """Refuse data, gold, models and reward models that are named by a path where nothing is."""
    for own in variants(cfg):
        named = {"model.hub": own.model.hub, "reward.model": own.reward.model}
        named |= {f"data.{key}": value for key, value in vars(own.data).items()}
        for key, source in named.items():
            path = getattr(source, "id", None)
            if isinstance(path, str) and is_local(path) and not Path(path).exists():
                raise UserError(f"{key}.id: there is no '{path}' in {Path.cwd()}: check the path")


def is_local(path: str) -> bool:
    """Tell whether an id can only be a path: those of the hub are of the form owner/name."""
    return path.startswith(("/", ".", "~")) or path.count("/") > 1 or file_format(path) is not None


def check_provenance(cfg) -> None:
    """Refuse a record of a search that reports could not read."""
    known = cfg.searched
    if known is None:
        return
    lacks = [key for key in ("rule", "seed", "commit", "spaces", "methods") if key not in known]
    if lacks or not all(isinstance(known[key], dict) for key in ("spaces", "methods")):
        what = f"lacks {', '.join(lacks)}" if lacks else "has spaces or methods that are no mapping"
        raise UserError(
            f"provenance {what}: copy the whole tuned.yaml that the study `tune` writes"
        )


def check_pool(pairs) -> None:
    """Refuse a pool that holds fewer pairs than each seed draws from it."""
    if pairs.pool and pairs.pool < pairs.n:
        raise UserError(
            f"pairs.pool={pairs.pool} holds fewer pairs than pairs.n={pairs.n}: "
            "raise pairs.pool, or lower pairs.n"
        )


def check_names(cfg) -> None:
    """Refuse a name of an arm or study that is taken or cannot name a folder."""
    taken = {*cfg.known_methods, *cfg.computed_arms, *cfg.computed_studies}
    for name in [*cfg.arms, *cfg.studies]:
        if not NAME.fullmatch(name) or name in ("sft", ".", ".."):
            raise UserError(
                f"'{name}' cannot name an arm or a study: use up to 100 letters, digits, '.', '_' "
                "and '-', the first no '.' or '-', but not 'sft'"
            )
        if name in taken:
            raise UserError(
                f"'{name}' is the name of a method or of a computed arm or study: choose another"
            )


def check_study(cfg) -> None:
    """Refuse a study that does not exist or has no arms."""
    if cfg.study not in cfg.known_studies:
        raise UserError(f"unknown study '{cfg.study}'" + nearest(cfg.study, cfg.known_studies))
    if not cfg.study_arms:
        raise UserError(f"study '{cfg.study}' has no arms: name some in studies.{cfg.study}")


def check_candidates(cfg) -> None:
    """Refuse candidates that set more than the method's settings, and seeds to pick on that a study
    compares."""
    for name in cfg.study_arms:
        arm = cfg.arm(name)
        if OWN in arm.candidates:
            raise UserError(f"arms.{name}.candidates.{OWN} is taken: choose another name")
        for candidate, more in arm.candidates.items():
            where = f"arms.{name}.candidates.{candidate}"
            checked(type(arm.settings), merge(arm.settings.model_dump(), more), where)
            if not NAME.fullmatch(candidate):
                raise UserError(f"{where}: use letters, digits, '.', '_' and '-' in names")
        check_followed(cfg, arm)
    if any(cfg.arm(name).is_picked for name in cfg.study_arms):
        check_own_seeds("pick_seeds", cfg.pick_seeds)
        if taken := {*cfg.compared_seeds} & {*cfg.pick_seeds}:
            raise UserError(f"pick_seeds holds {min(taken)}, which a study compares: take another")


def check_followed(cfg, arm) -> None:
    """Refuse to follow an arm that has no candidates or another method."""
    if arm.follows is None:
        return
    leader, where = cfg.arm(arm.follows), f"arms.{arm.name}.follows={arm.follows}"
    if not leader.candidates or leader.method != arm.method or arm.candidates:
        raise UserError(
            f"{where}: name an arm of method {arm.method} that has candidates, and give "
            f"'{arm.name}' none of its own"
        )


def variants(cfg) -> list:
    """Return the settings of the study, and those of each arm that has its own model, base, ..."""
    own = {id(found): found for found in (cfg.of(name) for name in cfg.study_arms)}
    return [cfg, *(found for key, found in own.items() if key != id(cfg))]


def check_launch(cfg) -> None:
    """Refuse fsdp, zero2 and zero3, which shard the model, for what samples and with LoRA."""
    if cfg.launch.config == "ddp" or cfg.launch.processes == 1:
        return
    used = {name: cfg.known_methods[cfg.arm(name).method] for name in cfg.study_arms}
    samples = [name for name, method in used.items() if head_of(method) == "rollout"]
    lora = any(own.model.lora for own in variants(cfg))
    what = f"arm {samples[0]}, which samples," if samples else "LoRA (model.lora)" if lora else None
    if what:
        raise UserError(
            f"launch.config={cfg.launch.config} shards the model, which {what} does not support: "
            f"set launch.config=ddp, or leave {what} out"
        )


def check_graph(cfg) -> None:
    """Refuse launch.cuda_graph where a decoding step cannot be captured, or it is not known."""
    sharded = cfg.launch.processes > 1 and cfg.launch.config != "ddp"
    what = f"launch.config={cfg.launch.config}" if sharded else None
    quantised = next((v.model.quantise for v in variants(cfg) if v.model.quantise), None)
    what = what or (f"model.quantise={quantised}" if quantised else None)
    if cfg.launch.cuda_graph and what:
        raise UserError(
            f"launch.cuda_graph needs a GPU that holds all weights, unquantised, unlike {what}: "
            "set launch.cuda_graph=false, or leave the other out"
        )


def check_checkpoints(cfg) -> None:
    """Refuse a finished model that has no path, or whose folder holds none."""
    for name, seed in cfg.study_runs:
        path = cfg.arm(name).finished(seed)
        if path is None:
            continue
        if not path:
            raise UserError(f"arm {name}: checkpoint.path names no model: set it to a folder")
        folder = Path(path)
        if folder.is_dir() and not holds_model(folder):
            raise UserError(
                f"arm {name}: {folder} holds no model: it needs one of {', '.join(MODEL_FILES)}"
            )


def check_slots(cfg) -> None:
    """Refuse to share GPUs among runs each of which holds several."""
    if cfg.jobs.per_gpu > 1 and cfg.launch.processes > 1:
        raise UserError(
            f"jobs.per_gpu={cfg.jobs.per_gpu} shares a GPU among runs, but each run holds "
            f"{cfg.launch.processes} whole ones (launch.processes): set one of them to 1"
        )


def check_shares(cfg) -> None:
    """Refuse batches that the processes of a run cannot share, before any training starts."""
    if cfg.launch.processes == 1:
        return
    arms = [cfg.arm(name) for name in cfg.study_arms]
    for arm in arms:
        if arm.preference != DEMONSTRATIONS:  # their number is unknown until they are made
            own = cfg.of(arm.name)
            check_share(own, f"arm {arm.name}", arm.settings, arm.listed(own.pairs.n))
            if "reward" in arm.needs or cfg.evaluated:
                n = arm.copies * (arm.reward_n or arm.n or own.pairs.n)
                check_share(own, f"reward model of arm {arm.name}", own.reward, n)


def check_critic(cfg) -> None:
    """Refuse a critic that would start from a reward model of another kind."""
    for arm in map(cfg.arm, cfg.study_arms):
        starts = getattr(arm.settings, "critic_init", "")
        if starts == "reward" and cfg.of(arm.name).reward.model:
            raise UserError(
                f"reward.model: the critic of arm {arm.name} cannot start from a reward model that "
                f"others have trained: set {arm.method}.critic_init=base"
            )


def check_share(cfg, name: str, settings, n: int) -> None:
    """Refuse a batch of the training ``name`` on ``n`` pairs that the processes cannot share."""
    count, batch = cfg.launch.processes, getattr(settings, "batch", None)
    try:
        if hasattr(settings, "minibatch"):
            check_rollouts(settings, count)
        elif batch:
            splits(batch, cfg.model.micro_batch, n, count)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def check_seeds(cfg) -> None:
    """Refuse `seeds_of` a study that does not exist or has seeds of its own."""
    for name in cfg.seeds_of:
        if name not in cfg.known_studies:
            raise UserError(
                f"unknown study '{name}' in seeds_of" + nearest(name, cfg.known_studies)
            )
        if name in cfg.own_seeds:
            raise UserError(
                f"seeds_of.{name}: that study has seeds of its own, in the section {name}"
            )


def check_own_seeds(name: str, seeds: Sequence[int]) -> None:
    """Refuse no seeds at all; name: the setting."""
    if not seeds:
        raise UserError(f"{name} is empty: name a seed")


ENDS = (0.0, 1.0)  # shares at which a curve starts and ends


def check_curve(cfg) -> None:
    """Refuse a curve without its start and end, between which gains are measured."""
    lacking = [f"{end:g}" for end in ENDS if end not in cfg.curve.fractions]
    if lacking:
        raise UserError(
            f"curve.fractions must hold {', '.join(lacking)}: gains are measured from 0 to 1"
        )


def left_in_pool(cfg, preference: str = "gold") -> int:
    """Return how many pairs a seed can draw: all of their pool but its validation pairs."""
    given = world(cfg.data.kind).GIVEN_PAIRS and preference != ON_POLICY
    pool = (given and getattr(cfg.data, "pool", None)) or cfg.pairs.sampled
    return max(cfg.pairs.n, pool - cfg.pairs.validation)


def check_writer(cfg, arm) -> None:
    """Refuse a writer of the arm's pairs that is no arm, or where no pairs are sampled."""
    if writer := cfg.of(arm.name).pairs.writer:
        cfg.arm(writer)
        if world(cfg.data.kind).GIVEN_PAIRS:
            raise UserError(f"pairs.writer={writer}: this testbed comes with pairs: leave it out")


def check_written(cfg, arm) -> None:
    """Refuse pairs that the world does not write, and tasks that it does not have."""
    here, where = world(cfg.data.kind), f"arms.{arm.name}"
    pools = {f"{where}.preference": pool_of(arm.preference)}
    pools[f"{where}.sft.chosen_of"] = cfg.of(arm.name).sft.chosen_of
    for key, pool in pools.items():
        if pool in WRITTEN and pool not in here.WRITTEN:
            raise UserError(f"{key}: this testbed has no pairs '{pool}': take another")
    known = {path.stem for path in (Path(here.__file__).parent / "tasks").glob("*.yaml")}
    for task in () if isinstance(arm.tasks, bool) else arm.tasks:
        if task not in known:
            raise UserError(f"{where}.tasks: unknown task '{task}'" + nearest(task, known))


def check_preference(cfg, arm) -> None:
    """Refuse a preference that no step can make pairs for, or that the arm cannot train on."""
    where = f"arms.{arm.name}"
    if not NAME.fullmatch(arm.preference):
        name = f"{where}.preference={arm.preference!r}"
        raise UserError(f"{name} is no valid name: use letters, digits, '.', '_' and '-'")
    made = arm.preference == DEMONSTRATIONS
    if made and "reference" in arm.needs:
        raise UserError(
            f"{where}: {arm.method} needs reference log-probs, which demonstrations lack: set "
            f"preference to gold, or take a method that needs none, such as orpo"
        )
    if arm.preference == ON_POLICY and not world(cfg.data.kind).GIVEN_PAIRS:
        raise UserError(
            f"{where}.preference: this testbed's own pairs are already on-policy (sampled from the "
            "SFT base): set it to gold"
        )
    if made and (own := [key for key in ("only", "flip", "fresh") if getattr(arm, key)]):
        raise UserError(
            f"{where}.{own[0]} is of sampled pairs: demonstrations have no labels of it"
        )
    made = made or pool_of(arm.preference) in WRITTEN  # their number is not known before
    own = cfg.of(arm.name)
    most = left_in_pool(own, arm.preference)
    for key in ("n", "reward_n"):
        asked = getattr(arm, key)
        if asked and not made and asked > most:
            raise UserError(
                f"{where}.{key}={asked} is more than the pool leaves beside its validation pairs, "
                f"{most}: lower it, or raise pairs.pool (data.pool, if pairs are given)"
            )
    if arm.reward_n and "reward" not in arm.needs:
        raise UserError(f"{where}.reward_n: {arm.method} has no reward model: leave it out")
    if arm.reward_n and arm.reward_n >= (arm.n or own.pairs.n):
        raise UserError(
            f"{where}.reward_n={arm.reward_n} is no fewer pairs than the run's: lower it"
        )
    if arm.fresh and arm.copies == 1:
        raise UserError(f"{where}.fresh needs copies, of which each gets a label: set copies")
    if parsed(arm.preference) != LabelSet(arm.preference):
        raise UserError(
            f"{where}.preference={arm.preference}: set only, flip, copies and n beside it"
        )
    known = (*world(cfg.data.kind).PREFERENCES, DEMONSTRATIONS, ON_POLICY)
    if arm.preference not in known:
        unknown = f"{where}.preference: this testbed has no '{arm.preference}'"
        raise UserError(unknown + nearest(arm.preference, known))
