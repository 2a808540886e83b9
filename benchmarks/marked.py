"""The places in our texts that commands fill: between <!-- KIND NAME --> and <!-- /KIND -->."""

import re
from pathlib import Path

from helpers import machine


def pattern(kind):
    """What stands between the marks of a kind, marks included; its groups are the first mark, the name, the last mark."""
    return re.compile(rf"(<!-- {kind} (\w+) -->\n).*?(<!-- /{kind} -->)", re.DOTALL)


def fill(path, kind, texts):
    """Writes texts, {name: lines}, between the marks of a kind in a file, atomically; None leaves what stands there.

    Raises ValueError if the file has no such marks.
    """
    path = Path(path)
    before = path.read_text(encoding="utf-8")
    if not pattern(kind).search(before):
        raise ValueError(f"{path} has no <!-- {kind} NAME --> with a <!-- /{kind} --> after it: write them first.")
    put = lambda found: found[0] if texts[found[2]] is None else found[1] + texts[found[2]] + found[3]
    with machine.atomic_write(path) as partial:
        partial.write_text(pattern(kind).sub(put, before), encoding="utf-8")
