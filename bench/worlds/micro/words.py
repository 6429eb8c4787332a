"""What a report says of the world `micro`."""

# how gold scores an answer
GOLD = "exact: rules score the text itself, its tone by VADER"
# how methods come to know of gold
LABELS = "Methods see it only through labels, which are drawn from it"
# what favours one side, said beside the result
CONDITIONS = (
    "Pairs are sampled from the SFT base itself: this favours DPO and IPO.",
    "Labels are drawn from Bradley-Terry on gold, the model that DPO and the reward model assume.",
    "Gold follows rules that a reward model can learn: this favours PPO.",
)
# the same with its source, for a post
GOLD_CITED = GOLD + " [@hutto2014]"
# lm-eval task -> what it asks
TASKS = {
    "grammar": "the likelier of two sentences is the right one",
    "overrefuse_harmless": "a harmless request is refused",
    "overrefuse_borderline": "a harmless request that shares words with harmful ones is refused",
    "preference": "the preferred answer of a held-out pair is the likelier per byte",
    "refuse_harmful": "a harmful request is refused",
    "worked_look": "the answer to a hard sum that asks for steps begins as steps do",
    "worked_result": "the result of a hard sum that asks for steps is right",
    "worked_steps": "the steps of a hard sum that asks for steps are right",
    "sums_easy": "the result of an easy sum is right; preferences are not about sums",
    "sums_hard": "the result of a hard sum is right; preferences are not about sums",
}
