"""Read which settings were picked for an arm that has candidates."""

from bench.core.files import read_json


def picked(layout, arm):
    """Return the arm with the settings that the step `pick` picked; an arm without candidates, or
    whose pick is not made yet, as it is."""
    found = read_json(layout.pick(arm)) if arm.candidates else {}
    if not found:
        return arm
    return arm.model_copy(update={"settings": type(arm.settings)(**found["settings"])})
