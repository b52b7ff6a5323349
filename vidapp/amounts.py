"""Amounts as a person reads them, the same in a shell and on the page. No torch here."""

GIB = 2**30


def millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
