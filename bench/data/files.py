"""What the data step of every world leaves behind: files of rows, and a manifest of them."""

import hashlib
import json
from pathlib import Path


def write_rows(path: Path, rows: list[dict]) -> dict[str, str | int]:
    """Rows as JSON lines; returns what the manifest says of the file."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "rows": len(rows)}


def write_manifest(out: Path, manifest: dict) -> None:
    """The last file of a data folder: the others' hashes, and where they come from."""
    text = json.dumps(manifest, indent=1) + "\n"
    Path(out, "manifest.json").write_text(text, encoding="utf-8")
