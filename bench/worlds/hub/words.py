"""What a report says of the world `hub`."""

# how gold scores an answer
GOLD = "a published reward model's score, or that of the testbed's own file"
# the same with its source, for a post
GOLD_CITED = GOLD
# lm-eval task -> what it asks
TASKS = {
    "preference": "the preferred answer of a held-out pair is the likelier per byte",
}
