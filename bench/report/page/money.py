"""Cost answers and claims."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING

from bench.claims.verdict import Assessment
from bench.money.answer import Option, TcoAnswer
from bench.money.apis import ApiAnswer
from bench.money.fleet import Bill
from bench.report.claim_table import GRAVEST
from bench.report.numbers import plain, share_of_draws
from bench.report.page.blocks import (
    Block,
    Cell,
    Fold,
    Mood,
    Picture,
    Section,
    Table,
    Text,
    number,
    word,
)
from bench.report.page.material import Material
from bench.report.tco_table import life_words, payback_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BARS = 10


def cost(m: Material) -> Section | None:
    """The three levels, what they are made of, break-evens and what moves them."""
    a = m.cost
    if a is None:
        return None
    words = "".join(f" [{word.upper()}]" for word in a.words)
    blocks: list[Block] = [Text(text=" ".join(a.note.split()))] if a.note else []
    blocks += [Text(lead="Licence", text=line, mood="doubt") for line in a.licence]
    blocks += [_levels(a, words), Text(text=_LEVELS)]
    blocks += [_ways(a, words), _waterfall(a, words), _breakeven(a, words)]
    if a.bars:
        blocks.append(_tornado(a, words))
    blocks += [_options(a, words), _apis(a, words), Text(text=f"{_APIS} {_over_years(a)}".strip())]
    if a.correct:
        blocks.append(_correct(a, words))
    blocks += [Text(lead="Caveat", text=line, mood="doubt") for line in a.caveats]
    blocks.append(Fold(title="Every input that was not measured", blocks=[_assumed(a, words)]))
    return Section(name="cost", heading="Cost", blocks=blocks)


def _usd(value: float | None, places: int = 4) -> Cell:
    return number(value, f",.{places}f")


_LEVELS = (
    "Marginal: server time alone, as if every server were always full. Utilised: with idle time "
    "and spare servers. Fully loaded: with site, energy, staff and licences, to be held against an "
    "API's price. Blended: input and output tokens as they occur. P5 and P95: of "
    "100 draws of the uncertain inputs, 5 lie below and 5 above."
)


def _plain(value: float) -> Cell:
    return Cell(text=plain(value, 4), value=value)


def _levels(a: TcoAnswer, words: str) -> Table:
    levels = (a.levels.marginal, a.levels.utilised, a.levels.loaded)
    rows = [
        [word("input"), *(_usd(None if v.input is None else float(v.input)) for v in levels)],
        [word("output"), *(_usd(None if v.output is None else float(v.output)) for v in levels)],
        [word("blended"), *(_usd(float(v.blended)) for v in levels)],
    ]
    spread = a.uncertain.get("usd_per_mtok_blended")
    if spread is not None:
        for p in ("p5", "p50", "p95"):
            rows.append([word(f"blended, {p.upper()}"), word(""), word(""), _usd(spread[p])])
    caption = f"Cost per M tokens in ${words}: throughput from {a.throughput_source}"
    columns = ("tokens", "marginal", "utilised", "fully loaded")
    return Table(caption=caption, columns=columns, rows=rows)


_PARTS = ("servers", "site", "energy", "staff and licences")
"""What a bill is made of, in the order in which it is stacked."""


def _parts(bill: Bill, demand: float) -> dict[str, float]:
    """$ per M tokens of each part."""
    usd = (bill.hardware, bill.site, bill.energy, bill.staff)
    return {name: float(part) / demand for name, part in zip(_PARTS, usd, strict=True)}


def _ways(a: TcoAnswer, words: str) -> Picture:
    """Owned, rented and bought answers beside each other."""
    demand = float(a.work.demand)
    bars = {o.basis.replace("_", " "): _parts(o.bill, demand) for o in a.options if o.bill}
    totals = {
        o.basis.replace("_", " "): float(o.levels.loaded.blended) for o in a.options if o.levels
    }
    apis = {api.key: float(api.price) for api in sorted(a.apis, key=lambda api: float(api.price))}
    rows = [
        [word(name), *(_usd(usd) for usd in parts.values()), _usd(totals[name])]
        for name, parts in bars.items()
    ]
    blank = [word("")] * len(_PARTS)
    rows += [[word(name), *blank, _usd(usd)] for name, usd in apis.items()]
    table = Table(
        caption=f"$ per M tokens, each way{words}", columns=("way", *_PARTS, "together"), rows=rows
    )

    def draw() -> Figure:
        from bench.report.pictures.money import ways

        return ways(bars, apis, f"own, rent or buy{words}")

    caption = (
        "A million tokens at this demand from servers of your own, rented ones and each API. What "
        "has no price in the book is missing here; the table of ways says why."
    )
    return Picture(name="ways", caption=caption, draw=draw, numbers=table)


def _waterfall(a: TcoAnswer, words: str) -> Picture:
    rows = [
        [word(s.what), word(s.level), _usd(float(s.cost)), _usd(float(s.monthly), 2)]
        for s in a.steps
    ]
    rows.append(
        [
            word("fully loaded"),
            word(""),
            _usd(float(a.levels.loaded.blended)),
            _usd(float(a.bill.total), 2),
        ]
    )

    def draw() -> Figure:
        from bench.report.pictures.money import waterfall

        steps = [s for s in a.steps if float(s.cost)]
        return waterfall(steps, f"what the cost is made of{words}")

    caption = (
        f"From server time at saturation to the fully loaded cost, on the basis “{a.basis}”. "
        "Steps up to a level add up to that level's cost."
    )
    table = Table(
        caption="Steps of the cost",
        rows=rows,
        left=(0, 1),
        columns=("step", "level", "$/M tokens", "$/month"),
    )
    return Picture(name="waterfall", caption=caption, draw=draw, numbers=table)


def _breakeven(a: TcoAnswer, words: str) -> Picture:
    apis = {api.key: float(api.price) for api in a.apis}
    curve = a.curve
    lines = (curve.monthly_usd, curve.bands.get("p5"), curve.bands.get("p95"))
    others = {k.replace("_", " "): usd for k, usd in curve.ways.items() if k != a.basis}
    rows = [
        [
            _plain(volume),
            number(float(curve.servers[n]), ".0f"),
            *(_usd(None if line is None else float(line[n] / volume)) for line in lines),
            *(_usd(float(usd[n] / volume)) for usd in others.values()),
        ]
        for n, volume in list(enumerate(curve.mtok_per_month.tolist()))[::8]
    ]
    table = Table(
        caption=f"$/M tokens of servers, {a.basis.replace('_', ' ')}, and of the other ways",
        rows=rows,
        columns=("M tokens/month", "servers", "central", "P5", "P95", *others),
    )

    def draw() -> Figure:
        from bench.report.pictures.money import breakeven

        title, basis = f"servers or an API{words}", a.basis.replace("_", " ")
        return breakeven(curve, apis, float(a.work.demand), title, basis)

    band = f"; the band is P5 to P95 of {a.draws:,} draws" if a.draws else ""
    caption = (
        "Below an API's line, servers are cheaper than that API. Teeth are further servers"
        f"{band}. API prices are drawn at their quoted values."
    )
    return Picture(name="breakeven", caption=caption, draw=draw, numbers=table)


def _tornado(a: TcoAnswer, words: str) -> Picture:
    rows = [
        [
            word(b.key),
            _plain(b.input_p10),
            _plain(b.input_p90),
            _usd(b.result_p10),
            _usd(b.result_p90),
        ]
        for b in a.bars
    ]
    columns = ("input", "P10", "P90", "$/M tokens at P10", "$/M tokens at P90")
    table = Table(caption="Each input at P10 and P90, the others fixed", columns=columns, rows=rows)

    def draw() -> Figure:
        from bench.report.pictures.money import tornado

        centre = float(a.levels.loaded.blended)
        return tornado(a.bars[:_BARS], centre, f"what moves the cost{words}")

    caption = f"The {min(_BARS, len(a.bars))} inputs that move the fully loaded cost most."
    return Picture(name="tornado", caption=caption, draw=draw, numbers=table)


def _options(a: TcoAnswer, words: str) -> Table:
    columns = ("way", "servers", "$/month", "$/M tokens", "rent")
    return Table(
        caption=f"Ways to have the servers, fully loaded{words}",
        columns=columns,
        rows=[_option(o, a.server.rented_unit) for o in a.options],
        left=(0, 4),
    )


def _option(o: Option, unit: str) -> list[Cell]:
    name = word(o.basis.replace("_", " "))
    if o.bill is None or o.levels is None:
        return [name, word(None), word(None), word(None), word(o.why_not or "")]
    rent = "; ".join(
        f"${plain(row.usd)}/{unit}-h, {row.provider}, as of {row.as_of}"
        + ("" if row.verified else ", unverified")
        for row in o.prices
    )
    return [
        name,
        number(float(o.bill.servers), ".0f"),
        _usd(float(o.bill.total), 2),
        _usd(float(o.levels.loaded.blended)),
        word(rent),
    ]


_APIS = (
    "Break-even: the demand at which own servers first cost what the API does; above “last "
    "break-even” no further server brings the API back ahead. P: share of the draws in which own "
    "servers are cheaper. All three at today's prices."
)


def _over_years(a: TcoAnswer) -> str:
    """What payback and NPV are; empty where nothing is bought."""
    if a.costs.capital is None:
        return ""
    return (
        "Payback: until what is saved has paid for the servers, undiscounted. NPV: net present "
        f"value of owning. Both over the servers' {life_words(a.costs.capital.life_months)}, with "
        f"{a.premises}."
    )


def _apis(a: TcoAnswer, words: str) -> Table:
    columns = (
        "API",
        "$/M tokens",
        "$/month",
        "break-even, M tokens/month",
        "last break-even",
        "payback, months",
        "NPV, $",
        "P(own is cheaper)",
        "prices as of",
    )
    return Table(
        caption=f"Against each API{words}",
        columns=columns,
        rows=[_api(api, a) for api in a.apis],
        left=(0, 8),
    )


def _api(api: ApiAnswer, a: TcoAnswer) -> list[Cell]:
    even = api.breakeven
    first = word("none") if even.first is None else number(even.first, ",.0f")
    odds = api.p_self_host_cheaper
    dates = ", ".join(sorted({row.as_of for row in api.rows.values()}))
    doubt = "" if all(row.verified for row in api.rows.values()) else ", unverified"
    return [
        word(api.key),
        _usd(float(api.price)),
        _usd(float(api.monthly), 2),
        first,
        _usd(even.for_good_above, 0),
        _payback(api, a),
        _usd(None if api.npv is None else float(api.npv), 0),
        word(None) if odds is None else Cell(text=share_of_draws(odds), value=odds),
        word(dates + doubt),
    ]


def _payback(api: ApiAnswer, a: TcoAnswer) -> Cell:
    """Months; how long the life is that they do not lie within stands below the table."""
    if api.payback_months is None and a.costs.capital is not None:
        return word("never within their life")
    return Cell(text=payback_words(api, a), value=api.payback_months)


def _correct(a: TcoAnswer, words: str) -> Table:
    known = {True: "equivalent", False: "not equivalent: not comparable", None: "not known"}
    rows = [
        [word(c.key), _usd(float(c.usd), 6), number(c.pass_rate, ".3f"), word(known[c.equivalent])]
        for c in a.correct
    ]
    return Table(
        caption=f"Cost per correct answer{words}",
        rows=rows,
        left=(0, 3),
        columns=("who", "$", "pass rate", "quality"),
    )


def _assumed(a: TcoAnswer, words: str) -> Table:
    rows = []
    for one in a.assumed:
        f = one.figure
        how = f.arose + ("" if f.verified else ", unverified")
        how += f", {one.age_days} days old" if one.age_days else ""
        span = "" if f.low is None or f.high is None else f"{plain(f.low)} to {plain(f.high)}"
        value = Cell(text=plain(f.value), value=f.value)
        rows.append([word(one.key), value, *map(word, (span, how, f.as_of, f.source))])
    return Table(
        caption=f"Not measured{words}",
        rows=rows,
        left=(0, 2, 3, 4, 5),
        columns=("input", "value", "range", "how", "as of", "source"),
    )


OUTCOMES = {
    "confirmed": "what can be computed or was measured agrees",
    "refuted": "what can be computed or was measured contradicts it",
    "impossible": "the hardware named cannot do it",
    "not comparable": "the source leaves out what a test would need",
    "untested": "nothing at hand bears it out or contradicts it",
}
"""What a claim's verdict says."""

_MOODS: dict[str, Mood] = {
    "confirmed": "good",
    "refuted": "bad",
    "impossible": "bad",
    "not comparable": "doubt",
    "untested": "doubt",
}


def claims(m: Material) -> Section | None:
    """Verdicts in a table, the evidence of each behind a fold."""
    if not m.claims:
        return None
    gravest = sorted(m.claims, key=lambda a: GRAVEST.index(a.verdict))
    rows = [
        [
            Cell(text=a.claim, note=f"“{shorten(a.quote, 90, placeholder=' …')}”"),
            Cell(text=a.verdict.upper(), mood=_MOODS[a.verdict]),
            word(a.why),
        ]
        for a in gravest
    ]
    table = Table(
        caption="Published numbers and what became of them",
        rows=rows,
        columns=("claim", "verdict", "why"),
        left=(0, 1, 2),
        prose=True,
    )
    sources: dict[str, list[Assessment]] = {}
    for a in gravest:
        sources.setdefault(a.claim.rpartition("/")[0], []).append(a)
    folds = []
    for source, group in sources.items():
        each = [Fold(title=f"{a.claim}: {a.verdict}", blocks=_evidence(a)) for a in group]
        folds.append(Fold(title=f"Evidence on {source or 'these'} ({len(each)})", blocks=each))
    return Section(name="claims", heading="Claims", blocks=[table, *folds])


def _evidence(a: Assessment) -> list[Block]:
    blocks: list[Block] = [Text(lead=a.who, text=f"“{' '.join(a.quote.split())}”")]
    for check in a.checks:
        informs = check.verdict == "possible" and check.kind in ("arithmetic", "cost")
        lead = f"{check.kind}: {'beside it' if informs else check.verdict}"
        blocks.append(Text(lead=lead, text="\n".join(check.evidence)))
    if a.note is not None:
        blocks.append(Text(lead="note", text=" ".join(a.note.split())))
    if a.settle_with is not None:
        lead = "see for yourself" if a.verdict == "impossible" else "settle with"
        blocks.append(Text(lead=lead, text=a.settle_with))
    return blocks
