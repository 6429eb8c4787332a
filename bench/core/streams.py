"""Random streams, one for each purpose, seeded by strings that must never change.

A changed string would draw other texts, pairs or prompts, so that no earlier result could be
repeated. The strings stay even where the words in them have been renamed since; a test lists them.
"""

from random import Random

STREAMS = {
    "micro": "micro {seed} {name}",  # texts, prompts and tasks of the world
    "reviews": "reviews {seed} {name}",
    "reviews-words": "{domain} {split}",  # which words a domain's prompts ask about
    "hub": "hub {seed} {name}",
    "pool": "pool {seed} {split}",  # the order in which prompts are answered
    "demonstrations": "demonstrations {seed}",  # which demonstrations are answered
    "pairs": "pairs {pool_seed} {seed}",  # a seed's draw of pairs, and their labels
    "flips": "flips {pool_seed} {seed}",  # which of a seed's labels are turned round
    "copies": "copies {pool_seed} {seed}",  # the labels of a seed's further copies
    "asked": "asked {seed}",  # which prompts without a pair a seed asks
    "ppo": "ppo {seed}",  # the order of PPO's prompts
    "tune": "tune {seed} {method}",  # the trials of a method
    "claims": "claims {number}",  # a random setting, the same for all methods
    "rehearsal": "rehearsal {split}",  # made-up texts
}


def stream(purpose: str, **parts: object) -> Random:
    """Return the random stream of a purpose; parts: seed, name, ... that fill in its string."""
    return Random(STREAMS[purpose].format(**parts))
