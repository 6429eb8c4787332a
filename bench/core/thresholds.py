"""Declare what counts as a failure or a success of training, before any run. Imports nothing."""

# The KL to the SFT base, in nats per sample, above which a run counts as diverged: its samples are
# then e^30 times likelier under the policy than under the SFT base, and no run was seen to recover.
# If answers may be longer than 30 tokens, the limit is 1 nat per token (see max_kl). A run that
# starts from another model than the SFT base may leave its start by as much.
MAX_KL = 30.0
MAX_KL_WORDS = (
    f"{MAX_KL:g} nats per sample (1 per token, if answers may be longer than {MAX_KL:g} tokens)"
)

# In standard deviations of the gold of the SFT base's answers. Training failed if gold is lower
# than the SFT base's by this much, and succeeded if it is higher by this much. A reader of single
# answers could not see a smaller difference.
MARGIN = 0.1

# A policy whose entropy is below this share of the SFT base's has collapsed: its samples hardly
# differ.
ENTROPY_LEFT = 0.5


# Points of the training curve, as shares of the training, in a cell of the stability grid.
GRID_CURVE = (0.0, 0.5, 1.0)


def max_kl(tokens: int) -> float:
    """Return the KL, in nats per sample, above which a run counts as diverged.

    tokens: the most that an answer may have.
    """
    return max(MAX_KL, float(tokens))
