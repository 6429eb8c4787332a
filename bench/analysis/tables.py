"""A study's collected tables as files: results/*.csv, samples.jsonl, and meta.json last."""

import json
from pathlib import Path

from bench.core.files import plain, read_csv, read_json, write_text


def write(out: Path, tables: dict, samples: list[dict], meta: dict) -> None:
    """results/: the tables as csv, samples.jsonl, and meta.json last, each renamed into place."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "samples.jsonl", lines(samples))
    write_text(out / "meta.json", json.dumps(plain(meta), indent=1, sort_keys=True) + "\n")


def lines(samples: list[dict]) -> str:
    """Samples as JSON lines."""
    return "".join(json.dumps(plain(s), ensure_ascii=False) + "\n" for s in samples)


def read(out: Path) -> tuple[dict, list[dict], dict]:
    """What `write` wrote: tables by name, samples, meta."""
    tables = {p.stem: read_csv(p) for p in sorted(out.glob("*.csv"))}
    texts = (out / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    return tables, [json.loads(x) for x in texts if x.strip()], read_json(out / "meta.json")
