"""Claims as files: read, each with what is wrong with it, and a skeleton written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.compose import conf_dir
from bench.config.yaml_file import load
from bench.values.errors import InputError, StoreError
from bench.values.file_kind import other_reader

if TYPE_CHECKING:
    from bench.claims.spec import Claim


def read_or(path: Path, bad: list[InputError] | None) -> tuple[Claim, ...]:
    """The claims of one file, those that are well formed; the errors of the others go to `bad`."""
    from bench.claims.load import claims_of

    if bad is None:
        return read(path)
    try:
        return claims_of(path.stem, load(path), str(path), bad, _today_of(path))
    except InputError as error:
        bad.append(error)
        return ()


def read(path: Path) -> tuple[Claim, ...]:
    """The claims of one file; InputError when it cannot be read or is malformed."""
    from bench.claims.load import claims_of

    return claims_of(path.stem, load(path), str(path), today=_today_of(path))


def _today_of(path: Path) -> date | None:
    """What no date in a user's file is after; None for those of the catalogue, which a machine's
    wrong clock is no reason to refuse."""
    shipped = path.resolve().is_relative_to(conf_dir().resolve())
    return None if shipped else datetime.now(tz=UTC).date()


def check_names(names: Sequence[str]) -> None:
    """InputError for the name of a file of one's own typed without its ending."""
    for name in names:
        if (file := Path(f"{name}.yaml")).is_file():
            raise InputError(f"there is no claim {name!r}. Did you mean the file {file}?")
        if other := other_reader(name, "claim"):
            raise InputError(f"there is no claim {name!r}.{other} A claim is a YAML file.")


def write_new(name: str, folder: Path) -> int:
    """Write a skeleton NAME.yaml, never over an existing file; returns 0."""
    from bench.claims.skeleton import skeleton

    path = folder / f"{name.removesuffix('.yaml')}.yaml"
    if path.exists():
        raise InputError(f"{path} exists already; choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(skeleton(path.stem), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}.") from error
    print(f"{path}: fill it in, then: bench claim {path}")
    return 0
