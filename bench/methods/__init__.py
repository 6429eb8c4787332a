"""The methods that are compared. To add one, write its file and add one line here.

A method is a module with

- ``Settings``: its hyper-parameters, a frozen ``Section``;
- ``NEEDS``: which artefacts it trains from, out of ``"reward"`` (the seed's reward model) and
  ``"reference"`` (log-probs of the pool under the SFT base);
- ``train(run)``: trains ``run.policy`` in place (see ``bench.align.Run``).

Importing this package imports no torch: the Snakefile reads it.
"""

from bench.methods import dpo, ipo, orpo, ppo

METHODS = {"ppo": ppo, "dpo": dpo, "ipo": ipo, "orpo": orpo}
