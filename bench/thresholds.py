"""What counts as a failure, declared once and beforehand (no import)."""

# Nats a sample. A sample that is e^30 times likelier under the policy than under the SFT base has
# nothing in common with it; runs that come back from there were not seen.
MAX_KL = 30.0

# Standard deviations of the SFT base's gold over prompts. Smaller differences are of no interest: a
# reader of single answers could not see them. Worse than SFT by this much is a failure of training,
# better by this much a success.
MARGIN = 0.1

# Share of the SFT base's entropy below which the policy says much the same each time.
ENTROPY_LEFT = 0.5
