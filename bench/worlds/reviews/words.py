"""What a report says of the world `reviews`."""

# how gold scores an answer
GOLD = "predicted by a regression on people's ratings of other texts"
# the same with its source, for a post
GOLD_CITED = GOLD + ", which were collected for VADER [@hutto2014]"
# lm-eval task -> what it asks
TASKS = {
    "preference": "the preferred answer of a held-out pair is the likelier per byte",
    "raters": "the text that people rated higher is the likelier per byte",
    "order": "the likelier of two word orders is the right one",
    "news": "how well untouched news text is predicted",
}
