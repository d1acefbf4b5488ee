"""Writes the output and the scores of a tiny run to `crates/effgan-cli/tests/golden/` again. For a change that is meant to change bits."""

import json
import subprocess
import tempfile
from pathlib import Path

golden = Path(__file__).parent.parent / "crates/effgan-cli/tests/golden"
with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "run"
    command = ["target/release/effgan", "run", "crates/effgan-run/tests/tiny.toml", "--out", str(run)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    # The last line is the path of the report.
    (golden / "tiny.txt").write_text("\n".join(said[:-1]) + "\n")
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
keys = ("of", "round", "norm_statistics", "fd_small")
scores = [{key: event[key] for key in keys if key in event} for event in events if event["event"] == "score"]
(golden / "tiny_scores.json").write_text("[\n" + ",\n".join("  " + json.dumps(score) for score in scores) + "\n]\n")
