"""Amounts and rates that carry their unit, so that mixed units neither type-check nor run.

`Qty[Usd]` is an amount of dollars and `Rate[Usd, Mtok]` dollars per million tokens. The unit is
in the type (mypy refuses `Rate[Usd, Mtok] * Qty[Token]`) and in the value (it raises UnitError
when run). A rate may be an array: every operation works on whole vectors of draws at once.
Changing a unit takes a named function of this module; nothing converts by itself.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from bench.values.factors import HOURS_PER_MONTH as HOURS_PER_MONTH
from bench.values.factors import MONTHS_PER_YEAR as MONTHS_PER_YEAR
from bench.values.factors import SECONDS_PER_HOUR as SECONDS_PER_HOUR
from bench.values.factors import SECONDS_PER_MONTH as SECONDS_PER_MONTH
from bench.values.factors import TOKENS_PER_MTOK as TOKENS_PER_MTOK

FloatArray = npt.NDArray[np.float64]


class UnitError(TypeError):
    """Quantities of different units were mixed: a bug in the caller, never bad user input."""


class Unit:
    """A unit of measure; its name is what error texts show."""

    symbol: ClassVar[str] = ""


class Usd(Unit):
    symbol = "$"


class Token(Unit):
    symbol = "token"


class Mtok(Unit):
    """A million tokens, the unit every public price list uses."""

    symbol = "M tokens"


class Second(Unit):
    symbol = "s"


class Hour(Unit):
    symbol = "h"


class Month(Unit):
    symbol = "month"


class Year(Unit):
    symbol = "year"


class ServerSecond(Unit):
    symbol = "server-s"


class ServerMonth(Unit):
    symbol = "server-month"


class GpuHour(Unit):
    symbol = "GPU-h"


class Kwh(Unit):
    symbol = "kWh"


U = TypeVar("U", bound=Unit)
N = TypeVar("N", bound=Unit)
D = TypeVar("D", bound=Unit)
X = TypeVar("X", bound=Unit)


class _Value:
    """A number or a vector of numbers; `__array_ufunc__` None makes `array * rate` ask the rate."""

    __array_ufunc__ = None
    __slots__ = ("value",)

    def __init__(self, value: npt.ArrayLike) -> None:
        self.value: FloatArray = np.asarray(value, dtype=np.float64)

    def __float__(self) -> float:
        """The number itself; ValueError when this holds a vector."""
        if self.value.size != 1:
            raise ValueError(f"a vector of {self.value.size} values is not one number")
        return float(self.value.item())


class Qty(_Value, Generic[U]):
    """An amount of one unit."""

    __slots__ = ("unit",)

    def __init__(self, value: npt.ArrayLike, unit: type[U]) -> None:
        super().__init__(value)
        self.unit = unit

    def __repr__(self) -> str:
        return f"{self.value} {self.unit.symbol}"

    def _same(self, other: Qty[U], verb: str) -> FloatArray:
        if not isinstance(other, Qty) or other.unit is not self.unit:
            raise UnitError(f"cannot {verb} {self.unit.symbol} and {_symbol(other)}")
        return other.value

    def __add__(self, other: Qty[U]) -> Qty[U]:
        return Qty(self.value + self._same(other, "add"), self.unit)

    def __sub__(self, other: Qty[U]) -> Qty[U]:
        return Qty(self.value - self._same(other, "subtract"), self.unit)

    def __mul__(self, factor: float | FloatArray) -> Qty[U]:
        return Qty(self.value * _pure(factor, self.unit.symbol), self.unit)

    __rmul__ = __mul__

    def __truediv__(self, other: Qty[D]) -> Rate[U, D]:
        """The rate between two amounts; a plain number is refused (use `* (1 / n)`)."""
        if not isinstance(other, Qty):
            raise UnitError(f"cannot divide {self.unit.symbol} by {_symbol(other)}")
        return Rate(self.value / other.value, self.unit, other.unit)

    def ratio(self, other: Qty[U]) -> FloatArray:
        """How many times `other` this is, without unit."""
        return np.asarray(self.value / self._same(other, "compare"))


class Rate(_Value, Generic[N, D]):
    """An amount of N per one D: $/M tokens, $/month, server-seconds per M tokens."""

    __slots__ = ("den", "num")

    def __init__(self, value: npt.ArrayLike, num: type[N], den: type[D]) -> None:
        super().__init__(value)
        self.num = num
        self.den = den

    @property
    def symbol(self) -> str:
        """The unit as text: `$/M tokens`."""
        return f"{self.num.symbol}/{self.den.symbol}"

    def __repr__(self) -> str:
        return f"{self.value} {self.symbol}"

    def _same(self, other: Rate[N, D], verb: str) -> FloatArray:
        if not isinstance(other, Rate) or other.num is not self.num or other.den is not self.den:
            raise UnitError(f"cannot {verb} {self.symbol} and {_symbol(other)}")
        return other.value

    def __add__(self, other: Rate[N, D]) -> Rate[N, D]:
        return Rate(self.value + self._same(other, "add"), self.num, self.den)

    def __sub__(self, other: Rate[N, D]) -> Rate[N, D]:
        return Rate(self.value - self._same(other, "subtract"), self.num, self.den)

    @overload
    def __mul__(self, other: Qty[D]) -> Qty[N]: ...
    @overload
    def __mul__(self, other: Rate[D, X]) -> Rate[N, X]: ...
    @overload
    def __mul__(self, other: float | FloatArray) -> Rate[N, D]: ...
    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Qty):
            if other.unit is not self.den:
                raise UnitError(f"cannot multiply {self.symbol} by {other.unit.symbol}")
            return Qty(self.value * other.value, self.num)
        if isinstance(other, Rate):
            if other.num is not self.den:
                raise UnitError(f"cannot multiply {self.symbol} by {other.symbol}")
            return Rate(self.value * other.value, self.num, other.den)
        return Rate(self.value * _pure(other, self.symbol), self.num, self.den)

    def __rmul__(self, factor: float | FloatArray) -> Rate[N, D]:
        return Rate(self.value * _pure(factor, self.symbol), self.num, self.den)

    def per(self, other: Rate[X, D]) -> Rate[N, X]:
        """This per one X, both per the same D: $/month by M tokens/month is $/M tokens."""
        if not isinstance(other, Rate) or other.den is not self.den:
            raise UnitError(f"cannot divide {self.symbol} by {_symbol(other)}")
        return Rate(self.value / other.value, self.num, other.num)

    def ratio(self, other: Rate[N, D]) -> FloatArray:
        """How many times `other` this is, without unit."""
        return np.asarray(self.value / self._same(other, "compare"))


def _symbol(other: object) -> str:
    if isinstance(other, Qty):
        return str(other.unit.symbol)
    return str(other.symbol) if isinstance(other, Rate) else f"a plain {type(other).__name__}"


def _pure(factor: object, symbol: str) -> FloatArray:
    if isinstance(factor, (int, float, np.ndarray, np.floating)) and not isinstance(factor, bool):
        return np.asarray(factor, dtype=np.float64)
    raise UnitError(f"cannot scale {symbol} by {_symbol(factor)}")


def usd(value: npt.ArrayLike) -> Qty[Usd]:
    """An amount of dollars."""
    return Qty(value, Usd)


def usd_per_mtok(value: npt.ArrayLike) -> Rate[Usd, Mtok]:
    """A price in dollars per million tokens."""
    return Rate(value, Usd, Mtok)


def usd_per_month(value: npt.ArrayLike) -> Rate[Usd, Month]:
    """A monthly cost in dollars."""
    return Rate(value, Usd, Month)


def mtok(tokens: Qty[Token]) -> Qty[Mtok]:
    """Tokens as millions of tokens: the factor this field loses."""
    return Qty(tokens.value / TOKENS_PER_MTOK, Mtok)


def months(hours: Qty[Hour]) -> Qty[Month]:
    """Hours as months of 730 h."""
    return Qty(hours.value / HOURS_PER_MONTH, Month)


def per_month(yearly: Rate[N, Year]) -> Rate[N, Month]:
    """A yearly rate as a monthly one."""
    return Rate(yearly.value / MONTHS_PER_YEAR, yearly.num, Month)


def server_seconds(servers: Rate[ServerMonth, Month]) -> Rate[ServerSecond, Month]:
    """What so many servers offer in a month of 2.628e6 s."""
    return Rate(servers.value * SECONDS_PER_MONTH, ServerSecond, Month)


def per_server_second(rate: Rate[N, ServerMonth]) -> Rate[N, ServerSecond]:
    """A cost per server-month as one per server-second."""
    return Rate(rate.value / SECONDS_PER_MONTH, rate.num, ServerSecond)


def per_server_month(
    rate: Rate[Usd, GpuHour], gpus_per_server: float | FloatArray
) -> Rate[Usd, ServerMonth]:
    """A rent per GPU-hour as one per server-month of 730 h."""
    return Rate(rate.value * gpus_per_server * HOURS_PER_MONTH, Usd, ServerMonth)


def kwh_per_server_month(server_kw: FloatArray) -> Rate[Kwh, ServerMonth]:
    """The energy one server takes in a month of 730 h at this mean power in kW."""
    return Rate(server_kw * HOURS_PER_MONTH, Kwh, ServerMonth)
