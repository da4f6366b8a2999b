"""Numbers as the page and its sentences write them."""

from __future__ import annotations

_MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"


def points(value: float | None) -> str:
    """A score or a difference of scores with one digit.

    Args:
        value: In points; None if it is not known.

    Returns:
        As "71.3"; a dash for None.
    """
    return UNKNOWN if value is None else _plain(f"{value:.1f}")


def signed(value: float | None) -> str:
    """A difference with its sign.

    Args:
        value: In points; None if it is not known.

    Returns:
        As "+1.3"; a dash for None.
    """
    return UNKNOWN if value is None else _plain(f"{value:+.1f}")


def share(value: float | None) -> str:
    """A share in percent.

    Args:
        value: 1 for all of it; None if it is not known.

    Returns:
        As "42 %"; a dash for None.
    """
    return UNKNOWN if value is None else _plain(f"{100 * value:.0f} %")


def ratio(value: float | None) -> str:
    """A ratio: two digits below 2, where they matter, else one.

    Args:
        value: The ratio; None if it is not known.

    Returns:
        As "1.07" or "3.4"; a dash for None.
    """
    return UNKNOWN if value is None else f"{value:.2f}" if value < 2 else f"{value:.1f}"


def compact(value: float) -> str:
    """A number with no more digits than it needs, as the ticks of an axis have.

    Args:
        value: The number.

    Returns:
        As "2.5" or "1e+06".
    """
    return _plain(f"{value:g}")


def plural(count: int, word: str) -> str:
    """A number of things.

    Args:
        count: How many.
        word: For one of them.

    Returns:
        As "1 seed" or "3 seeds".
    """
    return f"{count} {word}{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """A real minus sign, and no sign before zero."""
    if not text.strip("+-0.% "):
        text = text.lstrip("+-")
    return text.replace("-", _MINUS)
