"""prefbench: PPO-RLHF, DPO, IPO and ORPO from one SFT base, under a contract a machine checks."""

import os

# Nothing is downloaded unless a testbed says so; set before any library reads them.
for _name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Idle threads of libgomp spin, and slow down what runs beside them 2 to 10 times; a short spin
# costs an idle machine about 5 % of a step of two threads.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
