"""Tasks that lm-eval knows by name, or a YAML file of one's own: eval.tasks.

A task, a tag or a group (``leaderboard``: the Open LLM Leaderboard's). Their documents are the
hub's; those of a group are reported task by task.
"""

from pathlib import Path

from bench.hub import reaching
from bench.names import nearest
from bench.schema import UserError


def load(names: tuple[str, ...]) -> list:
    """lm-eval's tasks with their documents; UserError where one is unknown or cannot be had."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    return [task for name in names for task in load_one(manager, name)]


def load_one(manager, name: str) -> list:
    """The tasks that a name stands for."""
    if name not in manager.all_tasks and not Path(name).is_file():
        raise UserError(f"unknown task '{name}' in eval.tasks" + nearest(name, manager.all_tasks))
    try:
        with reaching(f"the data of lm-eval's '{name}'"):
            return list(manager.load([name])["tasks"].values())
    except ModuleNotFoundError as error:
        raise UserError(
            f"lm-eval's '{name}' needs packages that are missing ({error.name}): run "
            "`pip install -e '.[hub]'`, or take it out of eval.tasks"
        ) from None
