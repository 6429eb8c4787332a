"""Find records of steps, and the files that they list, that are missing or not as written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.core.files import file_sha256, read_json
from bench.core.layout import Layout, Member
from bench.core.names import POOL, pool_of
from bench.core.records import OWN, WRITTEN, sealed
from bench.core.schema import UserError

STEP = "step.json"  # the record of a step
CHANGED, MISSING, BARE = "changed", "missing", "without hashes"


def altered(path: Path, asked: Iterable[str] = ()) -> dict[str, str]:
    """Return {file: what is wrong with it} of a record and of the files that it lists.

    asked: names of files that it must list.
    """
    if not path.is_file():
        return {path.as_posix(): MISSING}
    try:
        record = read_json(path)
    except UserError:
        return {path.as_posix(): "no JSON object"}
    if OWN not in record or not isinstance(record.get(WRITTEN), dict):
        return {path.as_posix(): BARE}
    found = {} if sealed(record) == record else {path.as_posix(): CHANGED}
    found |= {_beside(path, name): BARE for name in asked if name not in record[WRITTEN]}
    for name, known in record[WRITTEN].items():
        if not (path.parent / name).is_file():
            found[_beside(path, name)] = MISSING
        elif file_sha256(path.parent / name) != known:
            found[_beside(path, name)] = CHANGED
    return found


def _beside(path: Path, name: str) -> str:
    return (path.parent / name).as_posix()


def evidence(
    members: Sequence[Member], bases: Mapping[str, Layout], evaluated: bool = True
) -> dict[str, str]:
    """Return {file: what is wrong with it} of all that the numbers of a study's runs come from.

    Runs and evaluations without a record are left out: the fairness contract names them.
    """
    found = {}
    for path, names in dict(_records(members, bases, evaluated)).items():
        found |= altered(path, names)
    return found


def _records(members, bases, evaluated: bool) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield every record, and the names of the files that it must list."""
    for layout in bases.values():
        yield layout.manifest, ("prompts.jsonl",)
        yield layout.base / STEP, ()
        yield layout.sft / STEP, ()
        yield layout.pool_record(POOL), (layout.pool(POOL).name,)
    made = [(member.files.record, member.files) for member in members]
    if evaluated:
        at = [layout.evaluation(None) for layout in bases.values()]
        at += [member.evaluation for member in members]
        made += [(files.record, files) for files in at]
    for record, files in made:
        if record.exists():
            yield record, tuple(path.name for path in files.written)
    for member in members:
        yield from _inputs(member, evaluated)
        for path in member.ledgers(evaluated) if member.files.record.exists() else ():
            if path.name.startswith("evaluate") and not member.evaluation.record.exists():
                continue
            yield path, ()


def _inputs(member: Member, evaluated: bool) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the records of the steps that a run is charged for, or scored by."""
    layout, arm = member.layout, member.arm
    for label_set in member.reward_models(evaluated):
        yield layout.reward(label_set, member.seed) / STEP, ()
    pool = pool_of(arm.label_set)
    if "reference" in arm.needs:
        table = layout.reference(pool)
        yield table.with_name(STEP), (table.name,)
    if pool != POOL:
        yield layout.pool_record(pool), (layout.pool(pool).name,)
