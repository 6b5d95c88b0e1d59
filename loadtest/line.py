"""Texts from outside on one line: names, messages, addresses that somebody else chose."""


def line(text: str) -> str:
    """The text on one line, without the characters that steer a terminal."""
    return "".join(each if each.isprintable() else "␛" for each in " ".join(text.split()))


def short(text: str, most: int = 28) -> str:
    """The text on one line, cut where it is longer than there is room for."""
    flat = line(text)
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
