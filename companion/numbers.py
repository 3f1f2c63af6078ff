"""Numbers as a reader wants them: three digits, powers of ten as such."""

from __future__ import annotations

from collections.abc import Mapping

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(value: object) -> object:
    """A number, list or dict of them, from numpy or torch, as what JSON holds.

    >>> import numpy as np; plain({"a": np.float64(0.5), "b": np.arange(2)})
    {'a': 0.5, 'b': [0, 1]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalar or array, torch tensor
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is not a number, text, list or dict")


def pretty(value: object, digits: int = 3) -> str:
    """A value for prose and tables; the spaces in it do not break.

    >>> print(pretty(2.4e-4).replace("\\u00a0", " "), pretty(0.10902), pretty(300000))
    2.4 × 10⁻⁴ 0.109 300,000
    >>> pretty([0, 1, 2])
    '0, 1, 2'
    """
    value = plain(value)
    if isinstance(value, dict):
        return "; ".join(f"{k}: {pretty(v, digits)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(
            f"({pretty(v, digits)})" if isinstance(v, list) else pretty(v, digits) for v in value
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}\u00a0×\u00a010{str(int(exponent)).translate(_SUPERSCRIPT)}"
