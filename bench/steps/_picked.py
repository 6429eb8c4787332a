"""Read which settings were picked for an arm that has candidates, or follows one that has."""

from bench.core.files import read_json
from bench.settings.overrides import merge


def picked(layout, arm):
    """Return the arm with what the picked candidate sets; an arm that picks nothing, or whose pick
    is not made yet, as it is."""
    found = read_json(layout.pick(arm)) if arm.is_picked else {}
    if not found:
        return arm
    settings = merge(arm.settings.model_dump(), found["sets"])
    return arm.model_copy(update={"settings": type(arm.settings)(**settings)})
