"""A cost answer for the terminal: one table per question, the three levels in columns apart."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench import units as u
from bench.tco.answer import Option, TcoAnswer
from bench.tco.apis import ApiAnswer

Money = u.Rate[u.Usd, u.Mtok] | None


def print_answer(answer: TcoAnswer, console: Console) -> None:
    """Print the answer; the words of doubtful Runs stand in every title."""
    words = "".join(f" [{word.upper()}]" for word in answer.words)
    console.print(f"{answer.name}{words}: {_headline(answer)}", markup=False)
    if answer.note:
        console.print(answer.note, markup=False)
    for line in answer.licence:
        console.print(f"licence: {line}", markup=False)
    console.print(_levels(answer, words))
    console.print(_options(answer, words))
    console.print(_apis(answer, words))
    if answer.correct:
        console.print(_correct(answer, words))
    if answer.bars:
        console.print(_tornado(answer, words))
    console.print(_assumed(answer, words))
    for line in answer.caveats:
        console.print(f"! {line}", markup=False)


def _table(title: str, words: str, *columns: str) -> Table:
    table = Table(title=(title + words).replace("[", r"\["), title_justify="left")
    for n, column in enumerate(columns):
        table.add_column(column, justify="left" if n == 0 else "right")
    return table


def _headline(answer: TcoAnswer) -> str:
    servers = int(float(answer.bill.servers))
    gpus = f" ({answer.gpus} GPUs)" if answer.gpus else ""
    return (
        f"{servers} server{'s' if servers != 1 else ''}{gpus}, "
        f"{float(answer.bill.utilisation):.1%} used, ${float(answer.bill.total):,.2f} a month "
        f"for {float(answer.work.demand):,.6g} M tokens ({answer.basis.replace('_', ' ')})"
    )


def _price(price: Money) -> str:
    return "–" if price is None else f"{float(price):,.4f}"


def _levels(answer: TcoAnswer, words: str) -> Table:
    table = _table("Cost per M tokens, $", words, "", "marginal", "utilised", "fully loaded")
    levels = (answer.levels.marginal, answer.levels.utilised, answer.levels.loaded)
    table.add_row("input", *(_price(level.input) for level in levels))
    table.add_row("output", *(_price(level.output) for level in levels))
    table.add_row("blended", *(_price(level.blended) for level in levels))
    known = answer.uncertain.get("usd_per_mtok_blended")
    if known is not None:
        spread = f"{known['p5']:,.4f} / {known['p50']:,.4f} / {known['p95']:,.4f}"
        table.add_row(f"blended P5/P50/P95 ({answer.draws:,} draws)", "", "", spread)
    return table


def _options(answer: TcoAnswer, words: str) -> Table:
    table = _table("Ways to have the servers, fully loaded", words,
                   "way", "servers", "$/month", "$/M tokens", "rent $/GPU-h (as of)")  # fmt: skip
    for option in answer.options:
        table.add_row(*_option(option))
    return table


def _option(option: Option) -> tuple[str, ...]:
    name = option.basis.replace("_", " ")
    if option.bill is None or option.levels is None:
        return (name, "–", "–", "–", option.why_not or "")
    row = option.prices[0] if option.prices else None
    rent = "" if row is None else f"{row.usd:g} {row.provider} ({row.as_of})"
    rent += " unverified" if row is not None and not row.verified else ""
    return (name, f"{float(option.bill.servers):.0f}", f"{float(option.bill.total):,.2f}",
            _price(option.levels.loaded.blended), rent)  # fmt: skip


def _apis(answer: TcoAnswer, words: str) -> Table:
    table = _table("Against each API", words, "API", "$/M tokens", "$/month",
                   "break-even M tokens/month", "for good above", "payback months", "NPV $",
                   "P(self-host cheaper)")  # fmt: skip
    for api in answer.apis:
        table.add_row(*_api(api))
    return table


def _api(api: ApiAnswer) -> tuple[str, ...]:
    even = api.breakeven
    first = "none" if even.first is None else f"{even.first:,.0f}"
    limit = even.capacity_mtok_per_month
    if even.first is not None and limit is not None and even.first > limit:
        first += f" (real capacity {limit:,.1f})"
    if even.first is None:
        first += f" (never below {even.floor_usd_per_mtok:,.4f})"
    else:
        first += f" (N={even.crossings[0].servers})"
    odds = api.p_self_host_cheaper
    doubt = "" if all(row.verified for row in api.rows.values()) else " (unverified)"
    return (
        api.key + doubt, f"{float(api.price):,.4f}", f"{float(api.monthly):,.2f}", first,
        "–" if even.for_good_above is None else f"{even.for_good_above:,.0f}",
        "none" if api.payback_months is None else f"{api.payback_months:,.3f}",
        "–" if api.npv is None else f"{float(api.npv):+,.0f}",
        "–" if odds is None else f"{odds:.1%}",
    )  # fmt: skip


def _correct(answer: TcoAnswer, words: str) -> Table:
    table = _table("Cost per correct answer", words, "who", "$", "pass rate", "quality")
    verdicts = {True: "equivalent", False: "not equivalent: not comparable", None: "not known"}
    for c in answer.correct:
        table.add_row(c.key, f"{float(c.usd):.6g}", f"{c.pass_rate:.3f}", verdicts[c.equivalent])
    return table


def _tornado(answer: TcoAnswer, words: str) -> Table:
    table = _table("What moves the fully loaded blend (each at P10 and P90, others fixed)", words,
                   "input", "P10", "P90", "$/M at P10", "$/M at P90")  # fmt: skip
    for bar in answer.bars:
        table.add_row(bar.key, f"{bar.input_p10:,.4g}", f"{bar.input_p90:,.4g}",
                      f"{bar.result_p10:,.4f}", f"{bar.result_p90:,.4f}")  # fmt: skip
    return table


def _assumed(answer: TcoAnswer, words: str) -> Table:
    table = _table("Not measured", words, "input", "value", "how", "as of", "source")
    for a in answer.assumed:
        f = a.figure
        how = f.arose + ("" if f.verified else ", unverified") + (", stale" if a.age_days else "")
        table.add_row(a.key, f"{f.value:,.6g}", how, f.as_of, f.source)
    return table
