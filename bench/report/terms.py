"""Explain the words of a page's sentences, as docs/glossary.md does (a test compares them)."""

TERMS = {
    "gold": "The testbed's ground truth, a score of answers. It decides. Methods see at most "
    "labels that are drawn from it.",
    "SFT base": "The model after SFT, from which every method starts.",
    "reward model": "A model whose scores a method may be trained against; it learns from pairs.",
    "contract": "The rules that say in which fields runs must match; a step checks them.",
    "seed": "The number from which all random draws of a run follow.",
    "label": "Which answer of a pair is preferred.",
    "KL": "Kullback-Leibler divergence, how far the policy has moved from the SFT base; in nats "
    "an answer.",
    "FLOPs": "Floating-point operations; G, T, P and E are 10⁹, 10¹², 10¹⁵ and 10¹⁸.",
    "core-seconds": "Seconds that a core was in use, summed.",
    "GPU-seconds": "Seconds that a GPU was in use, summed.",
    "Holm": "A correction of p-values for making several comparisons.",
    "lm-eval": "EleutherAI's lm-evaluation-harness, which runs the tasks.",
    "validation prompt": "A held-out prompt for curves and tuning; the final evaluation uses "
    "others, the test prompts.",
    "as tuned": "With the settings that the testbed has for a method.",
}
