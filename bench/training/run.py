"""What a method is given: ``train(run)`` of each module in ``bench.methods``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """What a method trains with; ``policy`` is trained in place.

    pairs, validation: rows with prompt, chosen, rejected; reward: folder of the seed's reward model
    or None; reference: pool id -> log-probs of its two completions under the SFT base; model,
    decode: those sections of the settings. episodes, resident_models and validation_loss are for
    the method to fill in, and so is weights, where those in ``policy`` are shards.
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
    episodes: int = 0
    resident_models: int = 1
    weights: dict | None = None
    validation_loss: float | None = None

    def reference_logps(self, pair: dict) -> tuple[float, float]:
        """(chosen, rejected) summed log-probs under the SFT base."""
        both, side = self.reference[pair["id"]], pair["side"]
        other = {"a": "b", "b": "a"}[side]
        return both[side], both[other]
