"""Sellers' names of GPUs as those of the gpu group, where they can mean one thing alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping


def known_as(name: str, given: Mapping[str, str], gpus: Collection[str]) -> tuple[str, ...]:
    """The GPUs that a seller's name can mean: one where it is clear, none where it is not known.

    `given` says what the user knows better: "H100" does not say which form factor.
    """
    if name in given:
        return (given[name],)
    wanted = _bare(name)
    exact = [g for g in gpus if _bare(g) == wanted]
    longer = [g for g in gpus if _bare(g).startswith(wanted) and _ends(g, wanted)]
    after = [g for g in gpus if _bare(g).removeprefix("rtx") == wanted]
    turned = [g for g in gpus if _words(name) == set(g.split("-"))]  # A100_SXM_80G
    return tuple(sorted(set(exact or longer or after or turned)))


def _words(name: str) -> set[str]:
    """A name's parts in any order, as the catalogue writes them."""
    parts = [p for p in re.split(r"[^a-z0-9]+", name.lower()) if p and p != "nvidia"]
    sized = [re.sub(r"^(\d+)g$", r"\1gb", p) for p in parts]
    return {re.sub(r"^sxm\d$", "sxm", p) for p in sized}


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("nvidia"))


def _ends(gpu: str, wanted: str) -> bool:
    """Whether the name ends where one of the GPU's parts does: "l4" is no beginning of l40s."""
    parts = gpu.split("-")
    return any(_bare("".join(parts[:n])) == wanted for n in range(1, len(parts) + 1))


def asked_for(name: str, meant: Collection[str]) -> str:
    """Why a name was left out, and what to say."""
    if not meant:
        return f"{name} is no GPU of conf/gpu"
    return f"{name} may be {' or '.join(sorted(meant))}: say +prices.gpu_names.{name}=NAME"
