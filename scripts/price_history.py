"""Dated prices out of the history of public repositories, as rows of the price book.

    python scripts/price_history.py gcp FOLDER   # Cyclenerd/google-cloud-pricing-cost-calculator
    python scripts/price_history.py llm-prices FOLDER  # simonw/llm-prices
    python scripts/price_history.py arena FOLDER     # fboulnois/llm-leaderboard-csv (ratings)

FOLDER is a clone with its history. Of every month the first commit is read; a price is written on
the first day that it is seen, on every day that it is another, and on the last day.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

from asked_help import answer_help

from bench.money.prices.book import Key, PriceRow
from bench.money.prices.llm_prices import llm_prices
from bench.money.prices.tables import book_lines
from bench.trend.snapshots import lines, read_ratings
from bench.values.codec import decode

MACHINES = {
    "a2-highgpu-1g": ("a100-40gb-sxm", 1),
    "a2-ultragpu-1g": ("a100-80gb-sxm", 1),
    "a3-highgpu-8g": ("h100-sxm", 8),
    "g2-standard-4": ("l4", 1),
    "g4-standard-48": ("rtx-pro-6000", 1),
}
"""Google Cloud's machines and the GPUs in them (cloud.google.com/compute/docs/gpus)."""
REGIONS = ("us-central1", "us-east4", "europe-west4")
KINDS = {"hour": "rent_on_demand", "hour_spot": "rent_spot"}
TOP = 60
"""Models of a leaderboard that are kept: what the best ones are compared with."""


def git(folder: str, *words: str) -> str:
    """What git prints; empty where a commit does not have the file."""
    done = subprocess.run(
        ["git", "-C", folder, *words], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def months(folder: str, path: str) -> list[tuple[str, str]]:
    """(day, commit) of the first commit of every month that touches a path, and the newest."""
    log = git(folder, "log", "--reverse", "--format=%as %h", "--", path).split("\n")
    found: dict[str, tuple[str, str]] = {}
    every = [tuple(line.split(" ")) for line in log if line]
    for day, commit in every:
        found.setdefault(day[:7], (day, commit))
    return [*found.values(), *([every[-1]] if every else [])]  # type: ignore[list-item]


def gcp(folder: str) -> Iterator[PriceRow]:
    """Rents of the machines in MACHINES, per GPU."""
    pair = re.compile(r"^(?P<deep> *)(?P<key>[^:]+):(?: (?P<value>.*))?$")
    for day, commit in months(folder, "pricing.yml"):
        machine = region = ""
        for line in git(folder, "show", f"{commit}:pricing.yml").splitlines():
            found = pair.match(line)
            if found is None:
                continue
            deep, key, value = len(found["deep"]), found["key"], found["value"]
            if deep == 2 and key != "instance":
                machine = ""  # licences are listed by machine, too
            elif deep == 4:
                machine, region = key, ""
            elif deep == 8:
                region = key
            elif deep == 10 and machine in MACHINES and region in REGIONS and key in KINDS:
                gpu, many = MACHINES[machine]
                if float(value or 0) > 0:
                    yield rent(day, commit, machine, region, gpu, many, KINDS[key], float(value))


def rent(
    day: str, commit: str, machine: str, region: str, gpu: str, many: int, kind: str, usd: float
) -> PriceRow:
    source = (
        "github.com/Cyclenerd/google-cloud-pricing-cost-calculator at "
        f"{commit}, {machine} ÷ {many}, host included"
    )
    row = {"provider": f"gcp-{region}", "model": gpu, "kind": kind, "as_of": day, "source": source}
    return decode(PriceRow, {**row, "usd": round(usd / many, 6)}, commit)


def api_prices(folder: str) -> Iterator[PriceRow]:
    """List prices of APIs: what each vendor's file says holds on the day of the commit."""
    for day, commit in months(folder, "data"):
        names = git(folder, "ls-tree", "--name-only", commit, "data/").split()
        for name in (n for n in names if n.endswith(".json")):
            table = json.loads(git(folder, "show", f"{commit}:{name}"))
            if not isinstance(table, dict) or "models" not in table:
                continue
            source = f"github.com/simonw/llm-prices at {commit}"
            for fields in llm_prices({**table, "updated_at": day}, day):
                if fields is not None and fields["as_of"] == day:
                    yield decode(PriceRow, {**fields, "source": source}, name)


def kept(rows: Iterable[PriceRow], *, every: frozenset[str]) -> list[PriceRow]:
    """The first and the last row of each price, and those that say another; of the kinds in `every`
    one a month, for a market's price is news even where it did not move."""
    series: dict[Key, dict[str, PriceRow]] = {}
    for row in rows:
        series.setdefault((row.provider, row.model, row.kind), {})[row.as_of] = row
    found = []
    for key, days in series.items():
        ordered = [days[d] for d in sorted(days)]
        last = None
        for place, row in enumerate(ordered):
            news = last is None or row.usd != last.usd or place == len(ordered) - 1
            if news or key[2] in every:
                found.append(row)
                last = row
    return sorted(found, key=lambda r: (r.as_of, r.provider, r.model, r.kind))


def ratings(folder: str) -> str:
    """The best models of LM Arena's text board, a snapshot a month."""
    text: list[str] = []
    for day, commit in months(folder, "csv"):
        names = git(folder, "ls-tree", "--name-only", commit, "csv/").split()
        wanted = [n for n in names if re.search(r"(lmarena|lmsys)(_text)?\.csv$", n)]
        for name in wanted:
            found = read_ratings(
                git(folder, "show", f"{commit}:{name}"),
                name,
                as_of=day,
                source="github.com/fboulnois/llm-leaderboard-csv",
            )
            best = sorted(found, key=lambda r: -r.rating)[:TOP]
            text.append(lines([replace(r, as_of=day) for r in best], header=not text))
    return "".join(text)


def main() -> None:
    """Print the rows."""
    what, folder = sys.argv[1:3]
    if what == "arena":
        sys.stdout.write(ratings(folder))
        return
    rows = gcp(folder) if what == "gcp" else api_prices(folder)
    found = kept(rows, every=frozenset({"rent_spot"}))
    sys.stdout.write(book_lines(found, header=True))


if __name__ == "__main__":
    answer_help(__doc__)
    main()
