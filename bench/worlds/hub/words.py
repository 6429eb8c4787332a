"""What a report says of the world `hub`."""

# how gold scores an answer
GOLD = "a published reward model's score, or that of the testbed's own file"
# how methods come to know of gold
LABELS = "Methods do not see it: labels are those of the data set"
# what favours one side, said beside the result
CONDITIONS = (
    "Pairs are the data set's own, not answers of the SFT base, as PPO's samples are: this favours "
    "PPO.",
)
# the same with its source, for a post
GOLD_CITED = GOLD
# lm-eval task -> what it asks
TASKS = {
    "preference": "the preferred answer of a held-out pair is the likelier per byte",
}
