"""The one argument of every method: ``train(run)`` of each module in ``bench.methods``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """All that a method needs to train; it trains ``policy`` in place.

    name: the run in messages; settings: the arm's instance of the method's Settings; sft: folder of
    the SFT base; pairs, validation: rows with prompt, chosen, rejected; reward: folder of the
    seed's reward model, or None; scorer: that model, loaded, or None; reference: {pair id:
    log-probs of its two answers under the SFT base}; model, decode: those sections of the settings;
    root: folder of the checkpoints; cuda_graph: as in the settings (``launch``); asked: prompts
    that have no pair, which a method that samples asks instead of those of the pairs, or None.

    The method fills in episodes (completions sampled), resident_models (model copies in memory) and
    validation_loss; and weights, if ``policy`` holds only a shard of them.
    """

    name: str
    settings: Any
    seed: int
    policy: Any
    tokenizer: Any
    pairs: list[dict]
    validation: list[dict]
    sft: Path
    reward: Path | None
    scorer: Any
    reference: dict[int, dict[str, float]]
    model: Any
    decode: Any
    root: Path
    monitor: Any
    ledger: Any
    micro_batch: int | None = None
    cuda_graph: bool = False
    episodes: int = 0
    resident_models: int = 1
    weights: dict | None = None
    asked: list[str] | None = None
    validation_loss: float | None = None

    @property
    def prompts(self) -> list[str]:
        """Return the prompts that a method which samples answers asks."""
        return self.asked or [pair["prompt"] for pair in self.pairs]

    def reference_logps(self, pair: dict) -> tuple[float, float]:
        """Return the log-probs of (chosen, rejected) under the SFT base, summed over tokens.

        They are 0 if the method does not need them.
        """
        if not self.reference:
            return 0.0, 0.0
        both, side = self.reference[pair["id"]], pair["side"]
        other = {"a": "b", "b": "a"}[side]
        return both[side], both[other]
