"""Estimate a study's memory and time before it starts, in seconds, without GPU or network.

    python -m bench estimate --testbed zephyr-7b --gpu a100-80gb
    snakemake --cores 1 estimate --config testbed=zephyr-7b gpu=a100-80gb

FLOPs are those that the ledger will record. Seconds divide them by the device's published figures,
at the assumed utilisations below. Expect the right factor, not the right percentage.
"""

from dataclasses import dataclass
from typing import Any

from bench.core.disk import size
from bench.estimate import lengths, memory, shapes, storage, workload
from bench.estimate.devices import DEVICES, Device, choose
from bench.estimate.memory import GB
from bench.steps import runner

# Shares of a device's peak FLOPs that transformers reaches, not counting padding: .19 and .21 as
# rehearsed for 7B on an H100 in micro-batches of 4; devices with a lower peak reach more.
TRAINING, READING = 0.2, 0.25
BANDWIDTH = 0.7  # share of the maker's figure that reading weights reaches
# The least time of a layer's forward pass, with one token or many: Python, and the launch of the
# kernels. Adapters double the number of kernels; backward launches twice as many.
LAYER_S = 0.6e-3
DISK = 1e9  # bytes of weights loaded per second
START_S = 2.0  # seconds to start a step from the warm process, to tokenise and to save

ORDER = ("base", "SFT base", "pool", "reference", "reward model")  # of the steps before a run
COLUMNS = ("step or arm", "runs", "GB", "its own", "FLOPs each", "time each")
NOTES = [
    "GB: peak memory if all texts were as long as the longest, with the models that only measure",
    "(SFT base, gold, reward model); its own: without these, like peak_mb in run.json.",
    "An estimate: `python -m bench rehearse` measures memory and time on the device itself.",
]


@dataclass(frozen=True)
class Row:
    """Jobs with equal numbers: the first of them, the names and number of all, seconds of each, and
    the settings of their model."""

    job: workload.Job
    names: tuple[str, ...]
    runs: int
    seconds: float
    model: Any

    @property
    def kind(self) -> str:
        return self.job.kind

    @property
    def case(self) -> memory.Case | None:
        return self.job.case

    @property
    def own(self) -> float:
        """GB at the peak, without the models that only measure."""
        return self.job.own / GB

    @property
    def needed(self) -> float:
        """GB at the peak, with them."""
        return self.job.needed / GB

    @property
    def flops(self) -> float:
        """FLOPs of each job, as the ledger books them."""
        return self.job.charged.flops

    @property
    def name(self) -> str:
        return self.names[0] if len(self.names) == 1 else f"{len(self.names)} arms of {self.kind}"

    @property
    def hours(self) -> float:
        """Device-hours of all these jobs."""
        return self.runs * self.seconds * processes(self) / 3600


def estimate(cfg, device: Device) -> tuple[list[Row], dict[str, str]]:
    """Return a row for each group of equal jobs, and where shape and lengths come from."""
    alike: dict[tuple, list] = {}
    for part in workload.of_study(cfg, device is not DEVICES["cpu"]):
        for job in part.jobs():
            took, model = seconds(part, job, device), part.cfg.model
            key = job.kind, job.own, job.needed, job.charged.flops, took, repr(model)
            alike.setdefault(key, []).append((job, took, model))
    rows = []
    for jobs in alike.values():
        job, took, model = jobs[0]
        names = tuple(dict.fromkeys(job.name for job, *_ in jobs))
        rows.append(Row(job, names, len(jobs), took, model))
    rows.sort(key=place)
    found = {"Shape": shapes.of_policy(cfg)[2], "Lengths": lengths.lengths(cfg).source}
    return rows, found


def place(row: Row) -> int:
    """Return the place of a row: steps before runs, then runs, then evaluations."""
    return ORDER.index(row.kind) if row.kind in ORDER else len(ORDER) + (row.kind == "evaluation")


def seconds(study, job, device: Device) -> float:
    """Estimate the seconds of one job, from its start to its end."""
    layer = LAYER_S * (2 if job.case and study.cfg.model.lora else 1)
    charged, watched = (work_seconds(study, w, device, layer) for w in (job.charged, job.watched))
    return START_S + job.loads / DISK + watched + charged / processes(job)


def processes(job) -> int:
    """Return how many processes share a job (or a job of a row)."""
    return job.case.processes if job.case else 1


def work_seconds(study, work, device: Device, layer: float = LAYER_S) -> float:
    """Estimate the seconds of passes and of sampling.

    FLOPs or kernel launches limit passes; memory bandwidth may limit sampling as well.
    """
    single = study.cfg.model.dtype == "float32"
    peak = 1e12 * (device.single if single else device.half)
    bandwidth, depth = BANDWIDTH * GB * device.bandwidth, study.shape.layers
    step = max(memory.held(study.bare) / bandwidth, layer * depth)
    trained = max(work.trained / (TRAINING * peak), work.passes * 3 * layer * depth)
    drawn = max(work.drawn / (READING * peak), work.steps * step + work.cache / bandwidth)
    return trained + work.read / (READING * peak) + drawn


# --- what is printed ------------------------------------------------------------------------------


def report(cfg, device: Device, why: str) -> str:
    """Return the whole estimate as text; why: how the device was chosen."""
    rows, sources = estimate(cfg, device)
    head = [f"Estimate: study {cfg.study} of {cfg.testbed} on {device.name} ({why})"]
    head += [f"{key}: {value}" for key, value in sources.items()]
    body = [table(rows, device), summary(cfg, rows, device), warnings(cfg, rows, device)]
    return "\n\n".join("\n".join(part) for part in [head, *body, NOTES] if part)


def table(rows: list[Row], device: Device) -> list[str]:
    """Return one line per row, with aligned columns."""
    lines = [(*COLUMNS, f"{unit(device)}-hours")]
    for row in rows:
        sizes = (number(row.needed), number(row.own))
        spent = flops(row.flops) if row.flops else "–"
        times = (duration(row.seconds), number(row.hours))
        lines.append((row.name, str(row.runs), *sizes, spent, *times))
    return aligned(lines)


def aligned(lines: list[tuple[str, ...]]) -> list[str]:
    """Align the cells of lines: the first column to the left, all others to the right."""
    first, *widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        name.ljust(first) + "".join(f"  {x:>{w}}" for x, w in zip(cells, widths, strict=True))
        for name, *cells in lines
    ]


def unit(device: Device) -> str:
    return "core" if device is DEVICES["cpu"] else "GPU"


def summary(cfg, rows: list[Row], device: Device) -> list[str]:
    """Return lines with the cost of one run of each method, and of all jobs."""
    trained = [row for row in rows if row.kind in cfg.known_methods]
    reward = next((row.seconds for row in rows if row.kind == "reward model"), 0)
    lines = []
    for row in trained:
        who = row.name.upper() if row.name in cfg.known_methods else row.name
        line = f"{who} on {cfg.testbed}: about {number(row.needed)} GB, {duration(row.seconds)} on "
        own = f" ({duration(row.seconds + reward)} with its reward model)"
        lines.append(
            line + device.name + (own if "reward" in cfg.known_methods[row.kind].NEEDS else "")
        )
    runs, hours = sum(row.runs for row in trained), sum(row.hours for row in rows)
    left = size(storage.needed(cfg, 1))
    all_ = f"{runs} runs, with their inputs and evaluations: about {number(hours)} "
    return [*lines, all_ + f"{unit(device)}-hours; {left} of disk for what is not made yet"]


def warnings(cfg, rows: list[Row], device: Device) -> list[str]:
    """Return lines about jobs that would not fit, with a remedy, and about what is not counted."""
    there, lines = device.memory * GB, []
    for row in rows:
        if row.needed * GB > memory.ROOM * there and row.case:
            section = row.kind if row.case.head == "rollout" else "model"
            lines.append(f"{row.name} would not fit: {memory.advice(row.case, section, there)}")
        elif row.needed * GB > memory.ROOM * there:
            lines.append(f"{row.name} would not fit: {remedy(cfg, row, device)}")
    return lines + uncounted(cfg)


def uncounted(cfg) -> list[str]:
    """Return a line that names the tasks of lm-eval whose work is not known."""
    unknown = [task for task in cfg.eval.tasks if task not in workload.TASKS]
    return [f"Not counted: lm-eval's {', '.join(unknown)}"] if unknown else []


def remedy(cfg, row: Row, device: Device) -> str:
    """Say what a job that trains nothing needs, what the device has, and what would lower it."""
    found = f"it needs about {number(row.needed)} GB, the device has {device.memory:.3g} GB"
    lighter = cfg.model.dtype == "bfloat16" and not cfg.model.quantise
    nf4 = ", or lower the need with model.quantise=nf4" + " and LoRA" * (cfg.model.lora is None)
    return f"{found}; name a device with more memory{nf4 * lighter}"


def number(value: float) -> str:
    """Format a number with two digits; an estimate is no more precise."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def flops(value: float) -> str:
    """Format FLOPs: 901e9 -> '901 G'."""
    power = max(p for p in (9, 12, 15, 18) if p == 9 or value >= 10**p)
    return f"{value / 10**power:.3g} " + {9: "G", 12: "T", 15: "P", 18: "E"}[power]


def duration(s: float) -> str:
    size, unit = (3600, "hours") if s >= 3600 else (60, "minutes") if s >= 60 else (1, "s")
    return f"{number(s / size)} {unit}"


def main(argv: list[str] | None = None) -> None:
    parser = runner.arguments("estimate")
    parser.add_argument("--gpu", default=None, help="device: " + ", ".join(DEVICES))
    args = parser.parse_args(argv)
    from bench.studies import load

    cfg = load(args.testbed, args.set)
    on_gpu = bool(cfg.jobs.gpu) and cfg.model.device != "cpu"
    print(report(cfg, *choose(args.gpu, on_gpu)))
