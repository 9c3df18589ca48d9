"""A cost answer for the terminal: first in words, then a table per question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console

from bench.money.answer import Option, TcoAnswer
from bench.money.apis import ApiAnswer
from bench.money.caveats import Assumed
from bench.money.standing import Standing, surely
from bench.report.grid import Column, Grid, column, numbers, print_grid
from bench.report.numbers import plain, share_of_draws
from bench.values import units as u
from bench.values.count_words import agreeing

SAME = 0.01
PARTS = 0.1
"""From which share on a headline and the median of its draws are told apart."""

MANY = 10
"""From how many units on their fractions are left out."""

Money = u.Rate[u.Usd, u.Mtok] | None


def print_answer(answer: TcoAnswer, console: Console) -> None:
    """Print the answer; the words of doubtful Runs stand in every title."""
    words = "".join(f" [{word.upper()}]" for word in answer.words)
    console.print(f"{answer.name}{words}: {verdict(answer)}", markup=False, style="bold")
    for line in sentences(answer):
        console.print(line, markup=False, highlight=False)
    if answer.note:
        console.print(answer.note, markup=False, highlight=False)
    for line in answer.licence:
        console.print(f"licence: {line}", markup=False, highlight=False)
    console.print()
    grids = [_apis(answer), _levels(answer), _steps(answer), _options(answer)]
    grids += [_correct(answer)] if answer.correct else []
    grids += [_tornado(answer)] if answer.bars else []
    for grid in grids:
        titled = Grid(columns=grid.columns, rows=grid.rows, title=f"{grid.title}{words}")
        print_grid(console, titled)
    print_assumed(answer.assumed, words, console)
    for line in answer.caveats:
        console.print(f"! {line}", markup=False, highlight=False)


def sentences(answer: TcoAnswer) -> tuple[str, ...]:
    """What stands below the verdict, here and on the page."""
    said = (own_or_rent(answer), over_the_life(answer), fleet(answer), against_draws(answer))
    return tuple(filter(None, said))


def verdict(answer: TcoAnswer) -> str:
    """Whether self-hosting is cheaper, in one sentence, no surer than the draws are."""
    cost = f"${usd(float(answer.levels.loaded.blended))} per M tokens"
    way = "" if answer.basis == "own" else f" ({answer.basis.replace('_', ' ')})"
    if not answer.apis:
        return f"self-hosting{way} costs {cost}; no API to compare with"
    sides = {s: [a for a in answer.apis if a.cheaper == s] for s in SIDES}
    cheaper, dearer = sides["self-host"], sides["api"]
    if len(cheaper) == len(answer.apis):
        least = cheaper[-1]
        many = f"every API compared, the cheapest being {_named(least)}"
        many = _named(least) if len(cheaper) == 1 else many
        return f"self-hosting{way} is cheaper: it costs {cost}, less than {many}"
    if len(dearer) == len(answer.apis):
        many = f"all {len(dearer)} APIs compared, from {_named(dearer[-1])} to {_named(dearer[0])}"
        many = _named(dearer[0]) if len(dearer) == 1 else many
        return (
            f"the API is cheaper{_than(answer)}: self-hosting{way} costs {cost}, more than {many}"
        )
    parts = [
        # of those that beat it the dearest is named, of the others the cheapest
        f"{word}{_named(apis[0] if side.endswith('api') else apis[-1])}{_more(apis)}"
        for side, word in SIDES.items()
        if (apis := sides[side])
    ]
    return f"{_lead(answer, sides)}: self-hosting{way} costs {cost}, {', '.join(parts)}"


SIDES: dict[Standing, str] = {
    "self-host": "less than ",
    "probably self-host": "probably less than ",
    "cannot be told": "not to be told from ",
    "probably api": "probably more than ",
    "api": "more than ",
}
"""What is said of the APIs on each side."""


def _than(answer: TcoAnswer) -> str:
    return f" than {WAYS[answer.basis]}" if _beats_apis(answer) else ""


def _lead(answer: TcoAnswer, sides: Mapping[Standing, list[ApiAnswer]]) -> str:
    """How many APIs are cheaper, and of how many that is not sure."""
    many = len(answer.apis)
    sure, likely, unknown = (len(sides[s]) for s in ("api", "probably api", "cannot be told"))
    if unknown == many:
        return "it cannot be told which is cheaper"
    if not sure + unknown:
        if likely == many:
            return f"the API is probably cheaper{_than(answer)}"
        if not likely:
            return "self-hosting is probably cheaper"
    if not sure + likely:
        word = "probably " if sides["probably self-host"] else ""
        rest = f"{many - unknown} of {many} APIs, of {unknown} it cannot be told"
        return f"self-hosting is {word}cheaper than {rest}"
    said = []
    if sure:
        said.append(f"{sure} of {many} APIs {agreeing(sure, 'are')} cheaper")
    if likely:
        of = "probably" if sure else f"of {many} APIs {agreeing(likely, 'are')} probably cheaper"
        said.append(f"{likely} {of}")
    if unknown:
        said.append(f"of {unknown} it cannot be told")
    return ", ".join(said)


WAYS = {
    "own": "servers of your own",
    "on_demand": "servers rented on demand",
    "reserved": "reserved servers",
    "spot": "spot servers",
}


def _beats_apis(answer: TcoAnswer) -> Option | None:
    """The cheapest other way to have the servers, where it costs less than every API though this
    one does not."""
    ways = [(float(o.levels.loaded.blended), o) for o in answer.options if o.levels]
    apis = [float(a.price) for a in answer.apis]
    if not ways or not apis or float(answer.levels.loaded.blended) < min(apis):
        return None
    cost, way = min(ways, key=lambda pair: pair[0])
    return way if cost < min(apis) else None


def own_or_rent(answer: TcoAnswer) -> str:
    """Owning against the cheapest rent of the same fleet, in one sentence; empty without both."""
    ways = {o.basis: float(o.levels.loaded.blended) for o in answer.options if o.levels}
    own, found = ways.pop("own", None), answer.own_or_rent
    if own is None or not ways or found is None:
        missing = "; ".join(f"{o.basis}: {o.why_not}" for o in answer.options if o.why_not)
        return f"Own or rent cannot be told: {missing}" if missing else ""
    rent = found.rent_usd_per_mtok
    said = f"owning costs ${usd(own)}, renting ({found.tier.replace('_', ' ')}) ${usd(rent)}"
    apis = [float(a.price) for a in answer.apis]
    if apis and min(apis) < min(own, rent):
        said += f", the cheapest API ${usd(min(apis))}"
    elif (better := _beats_apis(answer)) is not None:
        said += f", with {WAYS[better.basis]} less than the cheapest API's ${usd(min(apis))}"
    choice = _choice(own, rent, found.p_own_cheaper)
    return f"For servers of your own, {choice}: {said} per M tokens, every cost counted."


def _choice(own: float, rent: float, odds: float | None) -> str:
    """Own or rent, no surer than the draws are."""
    share = None if odds is None else odds if own < rent else 1 - odds
    sure = surely(share)
    if abs(own / rent - 1) < SAME:
        choice = "owning and renting cost the same within 1 %"
    elif sure == "cannot be told":
        choice = "it cannot be told whether to own or rent"
    else:
        choice = sure + ("own rather than rent" if own < rent else "rent rather than own")
    return choice if odds is None or not sure else f"{choice} ({_draws('owning', odds)})"


def _draws(what: str, odds: float) -> str:
    """In how many draws it is cheaper; a share that is not all of them is never said to be."""
    share = f"{odds:.0%}"
    if odds < 1 and share == "100%":
        share = "over 99%"
    if odds > 0 and share == "0%":
        share = "under 1%"
    return f"{what} cheaper in {share} of draws"


def over_the_life(answer: TcoAnswer) -> str:
    """Where buying over the years comes out other than today's prices do; else empty."""
    ours, capital = float(answer.levels.loaded.blended), answer.costs.capital
    told = [(a, float(a.npv)) for a in answer.apis if a.npv is not None]
    turned = [(a, worth) for a, worth in told if worth * (float(a.price) - ours) < 0]
    if capital is None or not turned:
        return ""
    api, worth = max(turned, key=lambda pair: abs(pair[1]))
    alike = [a for a, other in turned if other * worth > 0]
    way, now = ("loses", "cheaper") if worth < 0 else ("gains", "dearer")
    sure = surely(_of_centre(api, ours))
    today = f"owning is {sure}{now} now"
    if sure == "cannot be told":
        today = f"owning is {now} now at the central figures"
    return (
        f"That is today's month. Over the servers' {life_words(capital.life_months)}, "
        f"{answer.premises}, buying them {way} against {api.key}{_more(alike)} "
        f"(NPV {'-' if worth < 0 else '+'}${abs(worth):,.0f}), though {today}."
    )


def _of_centre(api: ApiAnswer, ours: float) -> float | None:
    """The share of draws on the side of the central figures."""
    odds = api.p_self_host_cheaper
    return odds if odds is None or ours < float(api.price) else 1 - odds


def life_words(months: int) -> str:
    """A life in years where it is whole years, else in months."""
    years, rest = divmod(months, 12)
    if rest or not years:
        return f"{months} months"
    return "year" if years == 1 else f"{years} years"


def payback_words(api: ApiAnswer, answer: TcoAnswer) -> str:
    """Months until what was saved covers what was bought; never a number beyond the life."""
    capital = answer.costs.capital
    if capital is None:
        return "–"
    if api.payback_months is None:
        life = life_words(capital.life_months)
        return f"never within {'1 year' if life == 'year' else life}"
    return f"{api.payback_months:,.1f}"


def against_draws(answer: TcoAnswer) -> str:
    """Why the headline and the draws part, where they do by more than a tenth; else empty."""
    known = answer.uncertain.get("usd_per_mtok_blended")
    ours = float(answer.levels.loaded.blended)
    if known is None or abs(known["p50"] / ours - 1) <= PARTS:
        return ""
    way = "above" if known["p50"] > ours else "below"
    return (
        f"The median of the draws is ${usd(known['p50'])}, {way} the headline's ${usd(ours)}: "
        "that takes every input at its central value, while their ranges move the cost further "
        f"{'up than down' if way == 'above' else 'down than up'}."
    )


def _named(api: ApiAnswer) -> str:
    """The API with its price and, where the draws leave doubt, how likely self-hosting wins."""
    odds = api.p_self_host_cheaper
    doubt = ""
    if odds is not None and api.cheaper not in ("self-host", "api"):
        doubt = f", {_draws('self-hosting', odds)}"
    return f"{api.key} (${usd(float(api.price))}{doubt})"


def _more(apis: list[ApiAnswer]) -> str:
    return f" and {len(apis) - 1} more" if len(apis) > 1 else ""


def fleet(answer: TcoAnswer) -> str:
    """The servers behind the number, and how sure it is."""
    servers = int(float(answer.bill.servers))
    unit, gpus = answer.server, ""
    if unit.gpus:
        gpus = f" of {unit.gpus}×{unit.gpu} ({answer.gpus} GPUs)"
    text = (
        f"${float(answer.bill.total):,.2f} a month for {plain(float(answer.work.demand))} M tokens "
        f"on {servers} server{'s' if servers != 1 else ''}{gpus}, "
        f"{answer.basis.replace('_', ' ')}, {float(answer.bill.utilisation):.1%} used."
    )
    known = answer.uncertain.get("usd_per_mtok_blended")
    if known is not None and _moves(known):
        text += (
            f" 90 % of {answer.draws:,} draws lie between ${usd(known['p5'])} and "
            f"${usd(known['p95'])} per M tokens."
        )
    return text


def _moves(known: Mapping[str, float]) -> bool:
    """Whether the draws move the figure at all: what has a range may not enter it."""
    return known["p95"] - known["p5"] > 1e-9 * abs(known["p50"])


def _whole(value: float) -> str:
    """A sum without its cents; of a few units the digits that tell it from none."""
    return f"{value:,.0f}" if value >= MANY else plain(value, 3)


def usd(value: float) -> str:
    """A price: cents, and below a dollar the digits that it takes to tell it from others."""
    short = plain(value, 4)
    return short if value < 1 and len(short.partition(".")[2]) > 2 else f"{value:,.2f}"


def _price(price: Money) -> str:
    return "–" if price is None else f"{float(price):,.4f}"


def _levels(answer: TcoAnswer) -> Grid:
    levels = (answer.levels.marginal, answer.levels.utilised, answer.levels.loaded)
    rows = [
        ("input", *(_price(level.input) for level in levels)),
        ("output", *(_price(level.output) for level in levels)),
        ("blended", *(_price(level.blended) for level in levels)),
    ]
    known = answer.uncertain.get("usd_per_mtok_blended")
    if known is not None:
        rows += [(name.upper(), "", "", f"{known[name]:,.4f}") for name in ("p5", "p50", "p95")]
    return Grid(
        title="Cost per M tokens, $",
        columns=(column(""), *numbers("marginal", "utilised", "fully loaded")),
        rows=tuple(rows),
    )


def _steps(answer: TcoAnswer) -> Grid:
    total = float(answer.bill.total)
    rows = [
        (
            s.what,
            s.level,
            f"{float(s.cost):,.4f}",
            f"{float(s.monthly):,.2f}",
            f"{float(s.monthly) / total:.1%}",
        )
        for s in answer.steps
    ]
    return Grid(
        title="What the fully loaded blend is made of",
        rows=tuple(rows),
        columns=(
            column("", wraps=True),
            column("level"),
            *numbers("$/M tokens", "$/month", "share"),
        ),
    )


def _options(answer: TcoAnswer) -> Grid:
    return Grid(
        title="Ways to have the servers, fully loaded",
        columns=(
            column("way"),
            *numbers("servers", "$/month", "$/M tokens"),
            column(f"rent, $/{answer.server.rented_unit}-h", wraps=True),
        ),
        rows=tuple(_option(option) for option in answer.options),
    )


def _option(option: Option) -> tuple[str, ...]:
    name = option.basis.replace("_", " ")
    if option.bill is None or option.levels is None:
        return (name, "–", "–", "–", option.why_not or "")
    rents = [
        f"{row.usd:g} {row.provider}, {row.as_of}{'' if row.verified else ', unverified'}"
        for row in option.prices
    ]
    return (
        name,
        f"{float(option.bill.servers):.0f}",
        f"{float(option.bill.total):,.2f}",
        _price(option.levels.loaded.blended),
        " and ".join(rents),
    )


def _apis(answer: TcoAnswer) -> Grid:
    columns = (
        column("API"),
        *numbers("$/M", "$/month"),
        column("break-even", wraps=True),
        *numbers("last one"),
        column("payback", wraps=True),
        *numbers("NPV, $", "P(cheaper)"),
    )
    years = "" if answer.costs.capital is None else (
        f"; payback in months, undiscounted, and NPV: {answer.premises}"
    )  # fmt: skip
    return Grid(
        title="Against each API (break-even in M tokens a month at today's prices, own servers "
        f"stay cheaper above the last one{years})",
        columns=columns,
        rows=tuple(_api(api, answer) for api in answer.apis),
    )


def _api(api: ApiAnswer, answer: TcoAnswer) -> tuple[str, ...]:
    even = api.breakeven
    first = "none" if even.first is None else _whole(even.first)
    limit = even.capacity_mtok_per_month
    if even.first is not None and limit is not None and even.first > limit:
        first += f" (real capacity {limit:,.1f})"
    if even.first is None:
        first += f" (floor ${even.floor_usd_per_mtok:,.4f})"
    else:
        first += f" (N={even.crossings[0].servers})"
    odds = api.p_self_host_cheaper
    doubt = "" if all(row.verified for row in api.rows.values()) else " (unverified)"
    return (
        api.key + doubt,
        f"{float(api.price):,.4f}",
        _whole(float(api.monthly)),
        first,
        "–" if even.for_good_above is None else _whole(even.for_good_above),
        payback_words(api, answer),
        "–" if api.npv is None else f"{float(api.npv):+,.0f}",
        "–" if odds is None else share_of_draws(odds),
    )


def _correct(answer: TcoAnswer) -> Grid:
    verdicts = {True: "equivalent", False: "not equivalent: not comparable", None: "not known"}
    rows = [
        (c.key, plain(float(c.usd)), f"{c.pass_rate:.3f}", verdicts[c.equivalent])
        for c in answer.correct
    ]
    return Grid(
        title="Cost per correct answer",
        rows=tuple(rows),
        columns=(column("who"), *numbers("$", "pass rate"), column("quality", wraps=True)),
    )


def _tornado(answer: TcoAnswer) -> Grid:
    rows = [
        (
            bar.key,
            plain(bar.input_p10, 4),
            plain(bar.input_p90, 4),
            f"{bar.result_p10:,.4f}",
            f"{bar.result_p90:,.4f}",
        )
        for bar in answer.bars
    ]
    columns: tuple[Column, ...] = (
        column("input"),
        *numbers("P10", "P90", "$/M at P10", "$/M at P90"),
    )
    return Grid(
        title="What moves the fully loaded blend, one at a time", columns=columns, rows=tuple(rows)
    )


def print_assumed(assumed: Sequence[Assumed], words: str, console: Console) -> None:
    """Every input that was not measured, as the override that would replace it, by source."""
    console.print(f"Not measured: {len(assumed)} inputs{words}", markup=False, style="bold")

    grouped = groupby(sorted(assumed, key=_origin), key=_origin)
    for (how, as_of, source), group in grouped:
        listed = "; ".join(f"{a.key} {plain(a.figure.value)}" for a in group)
        console.print(f"  {listed}  ({how}, {as_of}: {source})", markup=False, highlight=False)


def _origin(a: Assumed) -> tuple[str, str, str]:
    f = a.figure
    how = f.arose + ("" if f.verified else ", unverified") + (", stale" if a.age_days else "")
    return how, f.as_of or "no date", f.source
