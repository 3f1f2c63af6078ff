"""Parameters as one line of text, as in `trials=50 widths=[1, 2] note="two words"`, read and
written.

A value is a bare word, a text in double quotes (as JSON writes it) or in single quotes (taken as it
stands), or a list of these in brackets.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping

Text = str | list[str]

_NAME = re.compile(r"\s*([^\s=\"'\[\]]+)=")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", re.DOTALL)
_ITEM = re.compile(r"[^\s,\]\"'\[][^,\]\"'\[]*")
_WORD = re.compile(r"[^\s\"'\[\]][^\s]*|")
_PLAIN = re.compile(r"[\w./:@%+~-]+")


def parse(text: str) -> dict[str, Text]:
    """name -> text, or list of texts.

    Raises:
        ValueError: something that is not name=value, a quote or bracket that does not close, or a
            name that is there twice.

    >>> parse('trials=50 widths=[1, 2] note="two words"')
    {'trials': '50', 'widths': ['1', '2'], 'note': 'two words'}
    """
    found: dict[str, Text] = {}
    at = 0
    while text[at:].strip():
        head = _NAME.match(text, at)
        if head is None:
            word = text[at:].split(maxsplit=1)[0]
            raise ValueError(
                f"cannot read the parameter {word!r}: expected name=value, as in"
                ' P="trials=50 seed=3"'
            )
        name = head[1]
        if name in found:
            raise ValueError(f"the parameter {name} is given twice: give it once")
        found[name], at = _value(name, text, head.end())
        if text[at : at + 1].strip():
            raise ValueError(
                f"cannot read {text[at:].split()[0]!r} behind the value of {name}: expected a"
                " space there, and quotes around a text that has spaces or quotes in it"
            )
    return found


def _value(name: str, text: str, at: int) -> tuple[Text, int]:
    if text[at : at + 1] == "[":
        return _list(name, text, at + 1)
    if text[at : at + 1] in ("'", '"'):
        return _quoted_text(name, text, at)
    word = _WORD.match(text, at)
    assert word is not None  # it matches nothing too
    return word[0], word.end()


def _list(name: str, text: str, at: int) -> tuple[list[str], int]:
    items: list[str] = []
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        if text[at : at + 1] == "]" and not items:
            return items, at + 1
        if text[at : at + 1] in ("'", '"'):
            item, at = _quoted_text(name, text, at)
        else:
            word = _ITEM.match(text, at)
            if word is None:
                raise ValueError(f"{name}: expected a list, as in {name}=[1, 2]")
            item, at = word[0].strip(), word.end()
        items.append(item)
        at += len(text[at:]) - len(text[at:].lstrip())
        closing = text[at : at + 1]
        if closing not in (",", "]") or not closing:
            raise ValueError(f"{name}: the list does not close: expected {name}=[1, 2]")
        at += 1
        if closing == "]":
            return items, at


def _quoted_text(name: str, text: str, at: int) -> tuple[str, int]:
    word = _QUOTED.match(text, at)
    if word is None:
        raise ValueError(f"{name}: the quote {text[at]} does not close")
    if word[0][0] == "'":
        return word[0][1:-1], word.end()
    try:
        return str(json.loads(word[0], strict=False)), word.end()
    except json.JSONDecodeError as fault:
        raise ValueError(f"{name}: cannot read {word[0]}: {fault.msg}") from None


def write(values: Mapping[str, object]) -> str:
    """The line that `parse` reads as the same parameters.

    >>> write({"trials": 50, "widths": [1, 2], "note": "two words", "plot": True})
    'trials=50 widths=[1, 2] note="two words" plot=true'
    """
    return " ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_text(v) for v in value)}]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)  # true and not True


def quoted(values: Mapping[str, object]) -> str:
    """The same as one word of a shell that calls `make`, which reads $$ as $.

    >>> print(quoted({"trials": 50, "seed": 3}), quoted({"note": "it's"}))
    "trials=50 seed=3" 'note="it'"'"'s"'
    """
    line = write(values).replace("$", "$$")
    return shlex.quote(line) if re.search(r"[\"$`\\!]", line) else f'"{line}"'
