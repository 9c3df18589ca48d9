"""The answer to a cost question as plain data: the contract of `bench tco --json`."""

from __future__ import annotations

from typing import Any

from bench.money.answer import Levels, Option, TcoAnswer
from bench.money.apis import ApiAnswer
from bench.money.cost import (
    TokenCost,
)
from bench.money.fleet import Bill
from bench.values import units as u
from bench.values.codec import encode


def to_json(answer: TcoAnswer) -> dict[str, Any]:
    """Plain data. By-API values are keyed `provider/model`; null means none or not known, never
    zero. `breakeven_mtok_per_month` is the first crossing, all of them are under `apis`.
    `payback_months` (null: not within the servers' life) and `npv_usd` rest on the same flows."""
    apis = answer.apis
    split = answer.split
    return {
        "name": answer.name,
        "note": answer.note,
        "words": list(answer.words),
        "basis": answer.basis,
        "levels": _levels(answer.levels),
        "server": encode(answer.server),
        "servers": int(float(answer.bill.servers)),
        "gpus": answer.gpus,
        "servers_exact": float(answer.bill.active_exact),
        "utilisation": float(answer.bill.utilisation),
        "monthly_usd": float(answer.bill.total),
        "monthly_usd_parts": _parts(answer.bill),
        "breakeven_mtok_per_month": {a.key: a.breakeven.first for a in apis},
        "payback_months": {a.key: a.payback_months for a in apis},
        "payback_at_todays_prices_months": {a.key: a.payback_at_todays_prices_months for a in apis},
        "npv_usd": {a.key: None if a.npv is None else float(a.npv) for a in apis},
        "p_self_host_cheaper": {a.key: a.p_self_host_cheaper for a in apis},
        "waterfall": [
            {
                "what": s.what,
                "level": s.level,
                "usd_per_mtok": float(s.cost),
                "monthly_usd": float(s.monthly),
            }
            for s in answer.steps
        ],
        "curve": _curve(answer),
        "apis": {a.key: _api(a) for a in apis},
        "options": {o.basis: _option(o) for o in answer.options},
        "own_or_rent": None if answer.own_or_rent is None else encode(answer.own_or_rent),
        "split": {
            "kind": split.kind,
            "why": split.why,
            "a_server_s_per_mtok_input": float(answer.work.split.a),
            "b_server_s_per_mtok_output": float(answer.work.split.b),
            "a_ci": split.a_ci,
            "b_ci": split.b_ci,
            "residual": split.residual,
            "mixes": split.mixes,
            "throughput_source": answer.throughput_source,
            "throughput_relative_ci": answer.throughput_ci,
            "throughput_relative_ends": split.relative_ends,
        },
        "model": _model(answer),
        "uncertainty": {"draws": answer.draws, **answer.uncertain},
        "tornado": [{**encode(bar), "swing": bar.swing} for bar in answer.bars],
        "correct_answers": [
            {
                "key": c.key,
                "usd_per_correct_answer": float(c.usd),
                "pass_rate": c.pass_rate,
                "equivalent": c.equivalent,
            }
            for c in answer.correct
        ],
        "licence": list(answer.licence),
        "caveats": list(answer.caveats),
        "assumed": [
            {"key": a.key, **encode(a.figure), "stale_age_days": a.age_days} for a in answer.assumed
        ],
    }


def _level(cost: TokenCost) -> dict[str, float | None]:
    return {
        "usd_per_mtok_input": None if cost.input is None else float(cost.input),
        "usd_per_mtok_output": None if cost.output is None else float(cost.output),
        "usd_per_mtok_blended": float(cost.blended),
    }


def _levels(levels: Levels) -> dict[str, dict[str, float | None]]:
    return {
        "marginal": _level(levels.marginal),
        "utilised": _level(levels.utilised),
        "loaded": _level(levels.loaded),
    }


def _parts(bill: Bill) -> dict[str, float]:
    return {
        "hardware": float(bill.hardware),
        "site": float(bill.site),
        "energy": float(bill.energy),
        "staff": float(bill.staff),
    }


def _curve(answer: TcoAnswer) -> dict[str, Any]:
    """The bill over demand, with its band (null without ranges), and what each API would bill."""
    curve = answer.curve
    bands = {f"monthly_usd_{name}": curve.bands.get(name) for name in ("p5", "p50", "p95")}
    return {
        "mtok_per_month": curve.mtok_per_month.tolist(),
        "servers": curve.servers.tolist(),
        "monthly_usd": curve.monthly_usd.tolist(),
        **{name: None if band is None else band.tolist() for name, band in bands.items()},
        "ways": {name: {"monthly_usd": usd.tolist()} for name, usd in curve.ways.items()},
        "apis": {
            a.key: {"monthly_usd": (float(a.price) * curve.mtok_per_month).tolist()}
            for a in answer.apis
        },
    }


def _option(option: Option) -> dict[str, Any]:
    if option.bill is None or option.levels is None:
        return {"why_not": option.why_not}
    return {
        "levels": _levels(option.levels),
        "servers": int(float(option.bill.servers)),
        "utilisation": float(option.bill.utilisation),
        "monthly_usd": float(option.bill.total),
        "monthly_usd_parts": _parts(option.bill),
        "prices": [encode(price) for price in option.prices],
    }


def _api(api: ApiAnswer) -> dict[str, Any]:
    return {
        "usd_per_mtok_blended": float(api.price),
        "monthly_usd": float(api.monthly),
        "cheaper": api.cheaper,
        "crossings": [encode(c) for c in api.breakeven.crossings],
        "floor_usd_per_mtok": api.breakeven.floor_usd_per_mtok,
        "self_host_cheaper_for_good_above": api.breakeven.for_good_above,
        "capacity_mtok_per_month": api.breakeven.capacity_mtok_per_month,
        "as_of": sorted({row.as_of for row in api.rows.values()}),
        "verified": all(row.verified for row in api.rows.values()),
        "decline_per_year_taken": api.decline_per_year,
        "price_decline_per_year": None if api.history is None else encode(api.history),
    }


def _model(answer: TcoAnswer) -> dict[str, float | None]:
    """The intermediate quantities of the model, so that an answer can be checked by hand."""
    work, capital = answer.work, answer.costs.capital
    w_in = float(work.w_in)
    demand = float(work.demand)
    seconds = float(work.seconds)
    per_s = demand * u.TOKENS_PER_MTOK / u.SECONDS_PER_MONTH
    sigma = w_in * float(work.split.a) / seconds if answer.split.kind == "split" else None
    return {
        "monthly_rate": None if capital is None else float(capital.monthly_rate),
        "discount_at_end": None
        if capital is None
        else float(capital.discount**capital.life_months),
        "usd_per_server_month": float(answer.costs.server),
        "demand_mtok_per_month": demand,
        "input_share": w_in,
        "tokens_per_s_per_server": u.TOKENS_PER_MTOK / seconds,
        "output_tokens_per_s_per_server": u.TOKENS_PER_MTOK * (1 - w_in) / seconds,
        "mean_output_tokens_per_s": per_s * (1 - w_in),
        "peak_output_tokens_per_s": per_s * (1 - w_in) * float(work.peak_to_mean),
        "mean_kw_per_server": float(answer.bill.mean_kw),
        "input_share_of_cost": sigma,
    }
