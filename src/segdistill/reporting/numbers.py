"""Numbers as the page and its sentences write them."""

from __future__ import annotations

_MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"


def points(value: float | None) -> str:
    """A score or a difference of scores with one digit; nothing known is a dash."""
    return UNKNOWN if value is None else _plain(f"{value:.1f}")


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return UNKNOWN if value is None else _plain(f"{value:+.1f}")


def share(value: float | None) -> str:
    """A share of one in percent."""
    return UNKNOWN if value is None else _plain(f"{100 * value:.0f} %")


def ratio(value: float | None) -> str:
    """A ratio: two digits near one, where they matter, else one."""
    return UNKNOWN if value is None else f"{value:.2f}" if value < 2 else f"{value:.1f}"


def compact(value: float) -> str:
    """A tick of an axis: no more digits than it needs."""
    return _plain(f"{value:g}")


def plural(count: int, word: str) -> str:
    """As "1 seed" or "3 seeds"."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """A real minus sign, and no sign before zero."""
    if not text.strip("+-0.% "):
        text = text.lstrip("+-")
    return text.replace("-", _MINUS)
