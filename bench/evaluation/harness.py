"""Run lm-eval on a model: the world's own tasks, and those that ``eval.tasks`` names.

The world's tasks have templates in ``bench/worlds/<kind>/tasks``. ``eval.tasks`` lists tasks, tags
or groups that lm-eval knows by name (``leaderboard`` is the Open LLM Leaderboard's group), or YAML
files of the user's. Their documents come from the hub. A group is reported task by task.
"""

import io
import math
import os
import sys
from collections.abc import Iterable
from contextlib import contextmanager, redirect_stderr, suppress
from importlib.metadata import version
from pathlib import Path

import yaml

from bench.core.files import write_text
from bench.core.hub import reaching
from bench.core.names import nearest
from bench.core.schema import UserError
from bench.core.turns import plain, turns
from bench.worlds import world

SEED = 2000  # of lm-eval's own draws
FEWSHOT_SEED = 1234  # of examples in prompts: lm-eval's default, so that they are the usual ones


def lm_eval_rows(cfg, policy, tokenizer, only=()) -> tuple[list[dict], list[dict]]:
    """Return one row per task and metric (value, standard error, number of documents, direction),
    and one per document of those metrics that are means over documents.

    only: names of the world's tasks; none: its usual ones, and those of ``eval.tasks``.
    """
    model = harness_model(cfg, policy, tokenizer)
    own = [task_config(cfg, name) for name in only or task_names(cfg)]
    own = [as_text(task) for task in own] if tokenizer.chat_template is None else own
    rows, items = harnessed(model, own)
    if cfg.eval.tasks and not only:
        more, more_items = harnessed(model, load(cfg.eval.tasks), limit=cfg.eval.limit)
        rows, items = rows + more, items + more_items
    return rows, items


def harness_model(cfg, policy, tokenizer):
    """Wrap a policy as lm-eval's tasks ask for it; it reads the turns of our own prompts."""
    from lm_eval.models.huggingface import HFLM

    class Conversing(HFLM):
        def apply_chat_template(self, chat_history, *args, **kwargs):
            said = [turn for message in chat_history for turn in read(message)]
            return super().apply_chat_template(said, *args, **kwargs)

    return Conversing(
        pretrained=policy,
        tokenizer=tokenizer,
        batch_size=cfg.eval.batch,
        add_bos_token=tokenizer.chat_template is None,
        max_length=policy.config.max_position_embeddings,
    )


def read(message: dict) -> list[dict]:
    """Return the turns of a user's message that holds one of our prompts, else the message."""
    return turns(message["content"]) if message["role"] == "user" else [message]


def harnessed(model, tasks: list, **options) -> tuple[list[dict], list[dict]]:
    """Run lm-eval on tasks; returns its results as rows, and those of single documents.

    Does what lm-eval's ``simple_evaluate`` does, but for its record of the environment, which takes
    a second and other processes each time.
    """
    from lm_eval import evaluate
    from lm_eval.tasks import TaskManager
    from transformers import set_seed

    loaded = TaskManager(include_defaults=False).load(tasks)
    for task in loaded["tasks"].values():
        task.set_config("num_fewshot", task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    set_seed(SEED)
    with quiet_stderr():
        found = evaluate(
            model,
            loaded,
            apply_chat_template=model.tokenizer.chat_template is not None,
            fewshot_as_multiturn=True,
            bootstrap_iters=100,
            log_samples=True,
            verbosity="ERROR",
            **options,
        )
    rows = [row for name in found["results"] for row in task_rows(found, name)]
    return [{k: v for k, v in row.items() if k != "filter"} for row in rows], [
        item for row in rows for item in item_rows(found["samples"][row["task"]], row)
    ]


@contextmanager
def quiet_stderr():
    """Hide lm-eval's progress bars, which no option turns off; print them if it raises an error."""
    text = io.StringIO()
    try:
        with redirect_stderr(text):
            yield
    except BaseException:
        print(text.getvalue(), file=sys.stderr)
        raise


def task_names(cfg) -> list[str]:
    """List the world's tasks, and ``preference`` if the pairs step wrote its documents."""
    return [
        *world(cfg.data.kind).TASKS,
        *(["preference"] if cfg.layout.test_pairs.exists() else []),
    ]


def task_config(cfg, name: str) -> dict:
    """Read the template ``bench/worlds/<kind>/tasks/<name>.yaml`` and fill in its data file."""
    templates = Path(world(cfg.data.kind).__file__).parent / "tasks"
    template = yaml.safe_load((templates / f"{name}.yaml").read_text())
    data = cfg.layout.data / "tasks" / f"{name}.jsonl"
    data = (data if data.exists() else cfg.layout.test_pairs).resolve()
    source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}}
    return template | source | {"task": name}


def as_text(task: dict) -> dict:
    """Let a task whose documents hold our prompts show them as text, for want of a template."""
    if task["doc_to_text"] != "prompt":
        return task
    return task | {"doc_to_text": lambda document: plain(document["prompt"])}


def task_rows(found: dict, name: str) -> list[dict]:
    """Turn one task's metrics in lm-eval's result into rows; one per filter if it has several.

    A strict and a flexible filter, as gsm8k has, tell errors of format from errors of ability.
    """
    rows = []
    metrics = [key.partition(",")[0] for key in found["results"][name] if "," in key]
    for key, value in found["results"][name].items():
        metric, _, chosen_filter = key.partition(",")
        if not chosen_filter or metric.endswith("_stderr"):
            continue
        stderr = found["results"][name].get(f"{metric}_stderr,{chosen_filter}")
        rows.append(
            {
                "task": name,
                "filter": chosen_filter,
                "metric": metric + (f" ({chosen_filter})" if metrics.count(metric) > 1 else ""),
                "value": value,
                "stderr": stderr if isinstance(stderr, float) else "",
                "n": found["n-samples"][name]["effective"],
                "higher_is_better": found["higher_is_better"][name].get(metric, True),
            }
        )
    return rows


def item_rows(samples: list[dict], row: dict) -> list[dict]:
    """Return one row per document, whose mean is the value of a task's row; [] if there is none.

    samples: lm-eval's record of each document. Bits per byte are a ratio of two sums: a document
    then counts with its bits over the mean number of bytes.
    """
    metric = row["metric"].partition(" (")[0]
    mine = [sample for sample in samples if sample["filter"] == row["filter"]]
    values = [sample.get(metric) for sample in mine]
    if metric == "bits_per_byte":
        size = sum(size for _, size in values) / len(values)
        values = [-logp / math.log(2) / size for logp, _ in values]
    if not all(isinstance(value, int | float) for value in values):
        return []
    if not math.isclose(sum(values) / len(values), row["value"], rel_tol=1e-6, abs_tol=1e-9):
        return []
    head = {"task": row["task"], "metric": row["metric"]}
    return [
        head | {"item": sample["doc_id"], "value": float(value)}
        for sample, value in zip(mine, values, strict=True)
    ]


def load(names: tuple[str, ...]) -> list:
    """Load lm-eval's tasks with their documents.

    Raises UserError if a task is unknown or its documents cannot be downloaded.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    return [task for name in names for task in load_one(manager, name)]


def check_names(names: Iterable[str], known: Iterable[str] = ()) -> None:
    """Raise UserError for a name that is no task of lm-eval's and no file.

    known: lm-eval's names; none: those of the installed version.
    """
    names = [name for name in names if not Path(name).is_file()]
    known = set(known or (installed() if names else ()))
    for name in names:
        if name not in known:
            raise UserError(f"unknown task '{name}' in eval.tasks" + nearest(name, known))


def installed() -> list[str]:
    """List lm-eval's tasks, groups and tags. Finding them takes seconds, so that a list of each
    version of lm-eval is kept in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "prefbench" / f"lm-eval-{version('lm-eval')}.txt"
    if kept.is_file():
        return kept.read_text(encoding="utf-8").split("\n")
    from lm_eval.tasks import TaskManager

    found = TaskManager().all_tasks
    with suppress(OSError):  # a home that cannot be written
        write_text(kept, "\n".join(found))
    return found


def load_one(manager, name: str) -> list:
    """Load the tasks that a name stands for."""
    check_names([name], manager.all_tasks)
    try:
        with reaching(f"the data of lm-eval's '{name}'"):
            return list(manager.load([name])["tasks"].values())
    except ModuleNotFoundError as error:
        raise UserError(
            f"lm-eval's '{name}' needs package '{error.name}', which is missing: run "
            "`pip install -e '.[hub]'`, or remove the task from eval.tasks"
        ) from None
