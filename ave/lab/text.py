"""Text that others have a say in - jobs, servers, file names - made such that no terminal obeys it."""

from __future__ import annotations

from unicodedata import category

__all__ = ["safe", "safe_line"]

#: Joiners that several scripts and emoji need; they move nothing and hide nothing.
_JOINERS = frozenset("\u200c\u200d")


def safe(text: str) -> str:
    """Return text that does nothing to a terminal; line ends stay, tabs become blanks."""
    text = text.replace("\r\n", "\n").expandtabs(4)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char == "\n" or _is_harmless(char) else _escaped(char) for char in text)


def safe_line(text: str) -> str:
    """Return text as one line that does nothing to a terminal, or to who reads it line by line."""
    return safe(text).replace("\n", "\\n")


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or category(char) == "Zs"


def _escaped(char: str) -> str:
    return f"\\x{ord(char):02x}" if char <= "\xff" else char.encode("ascii", "backslashreplace").decode()
