"""What counts as a failure, declared once and beforehand (no import)."""

# Nats a sample. A sample that is e^30 times likelier under the policy than under the SFT base has
# nothing in common with it; runs that come back from there were not seen. Of answers that may be
# longer than 30 tokens, 1 a token.
MAX_KL = 30.0
MAX_KL_WORDS = f"{MAX_KL:g} nats a sample (1 a token, where more than {MAX_KL:g} may be drawn)"

# Standard deviations of the SFT base's gold over prompts. Smaller differences are of no interest: a
# reader of single answers could not see them. Worse than SFT by this much is a failure of training,
# better by this much a success.
MARGIN = 0.1

# Share of the SFT base's entropy below which the policy says much the same each time.
ENTROPY_LEFT = 0.5


# Points of a curve from which the drawdown of a cell of the stability grid is read: the start, and
# two.
GRID_CURVE = (0.0, 0.5, 1.0)


def max_kl(tokens: int) -> float:
    """Nats a sample from which on a run has diverged; tokens: that an answer may have."""
    return max(MAX_KL, float(tokens))
