"""What a report says of the world `reviews`."""

# how gold scores an answer
GOLD = "predicted by a regression on people's ratings of other texts"
# how methods come to know of gold
LABELS = "Methods do not see it: labels are those of raters, on texts that gold was not fitted to"
# what favours one side, said beside the result
CONDITIONS = (
    "Pairs are texts that people wrote, not answers of the SFT base, as PPO's samples are: this "
    "favours PPO.",
    "Labels compare single scores of two raters, so they are noisy.",
    "Gold is a regression with few features: a method gains by pleasing it, whatever a reader "
    "would say.",
)
# the same with its source, for a post
GOLD_CITED = GOLD + ", which were collected for VADER [@hutto2014]"
# lm-eval task -> what it asks
TASKS = {
    "preference": "the preferred answer of a held-out pair is the likelier per byte",
    "raters": "the text that people rated higher is the likelier per byte",
    "order": "the likelier of two word orders is the right one",
    "news": "how well untouched news text is predicted",
}
