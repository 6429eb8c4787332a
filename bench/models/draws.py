"""Turn uniform random numbers into tokens.

Shapes: B samples, V vocabulary.
"""

import torch


def uniforms(length: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """Draw (length, rows) numbers in [0, 1): one for each token that a batch may hold.

    They are drawn before it is known which rows end early. So no draw depends on other rows, on the
    number of processes that share the batch (each takes its columns), or on how it is sampled.
    """
    device, kind = generator.device, torch.float64
    return torch.rand(length, rows, generator=generator, device=device, dtype=kind)


def draw_token(logits, luck, temperature) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token (B,) for each row of ``logits`` (B, V); also returns log-probs at
    temperature 1.

    luck: (B,) uniform numbers, or None for the likeliest tokens.
    """
    logps = logits.log_softmax(-1)
    if luck is None:
        token = logits.argmax(-1)
    else:  # by inverting the distribution function; torch.multinomial takes ten times as long
        cdf = (logits / temperature).softmax(-1).double().cumsum(-1)
        token = torch.searchsorted(cdf, luck[:, None] * cdf[:, -1:], right=True)[:, 0]
        token = token.clamp(max=cdf.shape[1] - 1)  # a NaN cdf gives an index past the vocabulary
    return token, logps.gather(1, token[:, None])[:, 0]
