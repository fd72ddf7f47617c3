"""Text of devices, files and the environment in a form that a terminal shows and does not obey."""

import unicodedata

__all__ = ["printable"]

_CONTROLS = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that are escaped: control characters, marks of direction and other invisible ones, surrogates,
characters without a meaning, separators of lines."""


def printable(text: str) -> str:
    """The text with control characters, marks of writing direction and undecodable bytes as escapes such as \\x1b.

    Letters, signs and spaces of all languages stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _CONTROLS:
        return character
    return character.encode("unicode_escape").decode("ascii")
