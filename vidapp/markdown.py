"""Tables in Markdown, and the part of a page between two markers that is written by a program."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a `|` in a cell is kept as one."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def put_between(text: str, name: str, body: str) -> str:
    """The text with `body` in place of what stands between the two markers of that name; ValueError where they are not there once each."""
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the page needs one line {begin} and after it one line {end}: put them where the table belongs")
    return f"{text[: text.index(begin)]}{begin}\n{body.strip()}\n{text[text.index(end) :]}"


def between(text: str, name: str) -> str:
    """What stands between the two markers of that name; ValueError where they are missing."""
    put_between(text, name, "")
    begin, end = markers(name)
    return text[text.index(begin) + len(begin) : text.index(end)].strip()
