"""Random streams: each purpose has its own, seeded by a string that is frozen.

Another string draws other texts, pairs or prompts, and no earlier result could be repeated. So
these strings never change, whatever happens to the words that they are made of; a test lists them
too.
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
    "ppo": "ppo {seed}",  # the order of PPO's prompts
    "tune": "tune {seed} {method}",  # the trials of a method
}


def stream(purpose: str, **parts: object) -> Random:
    """The stream of a purpose, of which each seed, name, ... has its own."""
    return Random(STREAMS[purpose].format(**parts))
