"""Mutations of bytes, of text and of the values in a torch or JSON file, drawn by seed."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import torch

_NASTY = (
    "null", "-1", "0", "1.0e+308", ".nan", "-.inf", "''", "[]", "{}", "[[]]", "{a: 1}", "true", "99999999999999999999",
    "'../../../etc/passwd'", "${HOME}", "$(touch owned)", "{{7*7}}", "!!python/object/apply:os.system ['touch owned']",
    "!!python/name:os.system", "&a [*a]", "*nothing", "2024-13-45", "'\\0'", "'" + 3000 * "x" + "'", 200 * "[",
    "'<script>alert(1)</script>'", "1e9", "1000000000", "'é\U0001f600'", "-0.0001", "~", "0x7fffffffffffffff",
)  # fmt: skip


def mutate(path: Path, draw: random.Random, *, text: bool) -> list[str]:
    """Change the file; the words that a message about it may name beside the file."""
    if text and draw.random() < 0.75:
        return _text(path, draw)
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 3, 20))):
        _bytes(content, draw)
    path.write_bytes(content)
    return []


def repack(path: Path, draw: random.Random) -> list[str]:
    """Change a value of a torch or JSON file, which is whole then; the keys on the way to the value."""
    tree = json.loads(path.read_text()) if path.suffix == ".json" else torch.load(path, weights_only=True)
    holder: Any = tree
    keys: list[Any] = []
    while True:
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        keys.append(key)
        if not isinstance(holder[key], dict | list) or not holder[key] or draw.random() < 0.2:
            break
        holder = holder[key]
    value = holder[key]
    others: list[Any] = [None, -1, 0, 10**12, 1e308, float("nan"), "x", "", [], {}, [[]], {"a": 1}, True]
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        others += 4 * [torch.ones(3), value * float("nan"), value[..., None], value.double(), value.to(torch.int8)]
    if draw.random() < 0.15:
        del holder[key]
    else:
        holder[key] = draw.choice(others)
    if path.suffix == ".json":
        path.write_text(json.dumps(tree))
    else:
        torch.save(tree, path)
    return [str(each) for each in keys if len(str(each)) > 2]


def _bytes(content: bytearray, draw: random.Random) -> None:
    size = len(content)
    # Half of the changes hit the head, which says what the rest means.
    start = draw.randrange(min(size, 200)) if draw.random() < 0.5 and size else draw.randrange(size + 1)
    length = min(draw.choice((1, 2, 4, 8, 64, 1000)), size - start)
    how = draw.randrange(9)
    if how == 0:
        del content[start:]
    elif how == 1 and start < size:
        content[start] ^= 1 << draw.randrange(8)
    elif how == 2:
        content[start : start + length] = bytes(length)
    elif how == 3:
        content[start : start + length] = b"\xff" * length
    elif how == 4:
        content[start : start + length] = draw.randbytes(length)
    elif how == 5:
        content[start:start] = draw.randbytes(length)
    elif how == 6:
        content[start:start] = content[start : start + length]
    elif how == 7:
        del content[start : start + length]
    else:
        content[:] = draw.choice(
            (b"", b"\0", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"{", b"\x80\x02.")
        )


def _text(path: Path, draw: random.Random) -> list[str]:
    lines = path.read_text().splitlines()
    place = draw.randrange(len(lines))
    before = lines[place]
    how = draw.randrange(7)
    if how <= 2 and re.search(r"[:,-] *\S", before):  # a value
        head, sign, tail = re.fullmatch(r"(.*?)([:,-] *)(\S.*)", before).groups()  # type: ignore[union-attr]
        comma = "," if tail.endswith(",") else ""
        lines[place] = head + sign.rstrip() + " " + draw.choice(_NASTY) + comma
    elif how == 3:
        lines[place] = re.sub(r"\w+", lambda match: match.group() + draw.choice(("x", "_", "é", " ")), before, count=1)
    elif how == 4:
        del lines[place]
    elif how == 5:
        lines.insert(draw.randrange(len(lines) + 1), before)
    else:
        lines[place] = draw.choice((" ", "\t", "    ", "- ", "? ")) + before
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    near = lines[max(0, place - 2) : place + 2]
    return [*re.findall(r"[A-Za-z_]{3,}", " ".join([before, *near])), "line "]
