"""Secrets recognised by what they look like, within any text.

Every pattern takes linear time on any text: what is repeated is possessive (`++`), bounded, or cannot begin again
inside itself.
"""

from __future__ import annotations

import re

from ave.redact.names import DIRECTORIES, MASK, is_hidden, is_secret_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Match

__all__ = ["masked", "variables_masked"]

_PEM = re.compile(r"-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-{4,5}")
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \t\r\n"

# the second form has a slash in the password, so what follows the colon must not be a port
_URL_USER = re.compile(
    r"""://(?:[^\s/?#"<>]+ | [^\s/?#"<>:@\[]*+:(?!\d*+(?:[/?#"\s]|$))(?:[^\s"<>/]|/(?!/)){1,256})@""", re.VERBOSE
)

# a set of first letters makes a search fast, so what must stand in front of them is looked at only then
_TOKEN = re.compile(
    r"""A(?:KIA|SIA)[A-Z0-9]{16} | AIza[\w-]{30,} | AGE-SECRET-KEY-\w{40,} | d(?:ckr_pat_[\w-]{20,})
    | g(?:h[opsur]_[A-Za-z0-9]{20,} | ithub_pat_\w{20,} | l[a-z]{2,3}-[\w.-]{18,}) | whsec_\w{20,}
    | x(?:ox[a-z]-[\w-]{10,} | app-[\w-]{20,})
    | [ehnprst](?:(?<![A-Za-z0-9].)|(?<=\\[nrt].))(?:
      (?<=e)yJ[\w-]{6,}+(?:\.[\w-]++)+\.? | (?<=s)k-(?=[\w-]{0,60}[0-9A-Z])[\w-]{20,} | (?<=[sr])k_(?:live|test)_\w{10,}
      | (?<=n)pm_[A-Za-z0-9]{30,} | (?<=p)ypi-[A-Za-z0-9_]{16}[\w-]*+ | (?<=h)f_[A-Za-z0-9]{30,}
      | (?<=h)v[sbr]\.[\w-]{20,} | (?<=t)skey-[\w-]{16,})""",
    re.VERBOSE,
)

_SCHEME = re.compile(
    r"""[bB](?<![\w-].)(?:
      ((?i:earer)[ \t]++)(?!(?i:auth|authentication|authorization|tokens?|scheme|header|credentials?)\b)[\w.~+/=-]{6,}
    | ((?i:asic)[ \t]++)(?=[A-Za-z+/]*?(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9+/]{8,}={0,2})""",
    re.VERBOSE,
)

_ELEMENT = re.compile(r"<([\w.:\-]++)([^<>]*+>(?:<!\[CDATA\[)?)([^<]++)")

#: At least one of these stands between any name and its value.
_SEPARATORS = frozenset("=:-,")

_VARIABLE = re.compile(r"(?<![^\n\0])([A-Za-z_][\w.]*+)=([^\n\0]++)")


def masked(text: str) -> str:
    """Return a text without the secrets in it; itself when there are none."""
    clean = _without_keys(text) if "PRIVATE KEY" in text else text
    if not _SEPARATORS.isdisjoint(clean):
        clean = _assigned(clean)
    if "@" in clean:
        clean = _URL_USER.sub(f"://{MASK}@", clean)
    if "<" in clean:
        clean = _ELEMENT.sub(_element, clean)
    clean = _TOKEN.sub(MASK, _SCHEME.sub(_scheme, clean))
    return text if clean == text else clean


def variables_masked(text: str) -> str:
    """Mask the values in a printed environment, a variable a line (or NUL-terminated, as in /proc)."""
    clean = _VARIABLE.sub(_variable, text)
    return text if clean == text else clean


def _variable(found: Match[str]) -> str:
    return f"{found[1]}={MASK}" if is_hidden(found[1], env=True) else found[0]


def _without_keys(text: str) -> str:
    """Mask PEM private keys, and what there is of one that lacks its beginning or its end."""
    parts, done, begin = [], 0, -1
    for mark in _PEM.finditer(text):
        if mark[1] == "BEGIN":
            begin = mark.start() if begin < 0 else begin
            continue
        if begin < 0:
            begin = done + len(text[done : mark.start()].rstrip(_BASE64))
        parts += [text[done:begin], MASK]
        done, begin = mark.end(), -1
    if begin >= 0:
        return "".join([*parts, text[done:begin], MASK])
    return "".join([*parts, text[done:]])


def _scheme(found: Match[str]) -> str:
    return f"{found[0][0]}{found[1] or found[2]}{MASK}"


def _element(found: Match[str]) -> str:
    name, tag, value = found.groups()
    return f"<{name}{tag}{MASK}" if value.strip() and is_secret_name(name) else found[0]


# Names and their values: `name=value`, `name: value`, `"name": "value"`, `--name value`, and as lists are printed,
# `'--name', 'value'` and `('name', 'value')`. The first pattern ends where the value begins.

_ASSIGNED = re.compile(
    r"""(?<![\w.\-])(?P<flag>(?=--?[A-Za-z]))?(?P<pair>(?<=\(["']))?(?P<name>[\w.\-]++)
    (?: (?P<quote>\\*+["'`])?\]?+[ \t]*+(?:=>|:=|[=!]=|=|:(?!:|//))(?P<blank>[ \t]*+)
      | (?(flag)[ \t]++(?=[^\s\-])|(?!))
      | (?(flag)|(?(pair)|(?!)))\\*+["'][ \t]*+,[ \t]*+(?=[bu]?\\*+["']) )""",
    re.VERBOSE,
)
_OPENING = re.compile(r"[bBfFrRuU]{0,2}(\\*+)([\"'`])")
_QUOTE = re.compile(r"(?<!\\)(\\*+)([\"'`])")
_BRACKET = re.compile(r"""[\[({]|[\])}]|\n|"(?:\\.|[^"\\\n])*"?+|'(?:\\.|[^'\\\n])*'?+""")
_BARE = re.compile(
    r"""(?:[^\s,;&"'] | ["'](?![,)\]}:;\s]|\Z) | [,;&](?!\s|\Z|["']?[A-Za-z_][\w.\-]*+["']?[=:]))+""", re.VERBOSE
)
#: Names of two words in prose end with one of these: `API key: x`.
_SECOND_WORDS = frozenset({"key", "keys", "phrase", "string"})
_AGAIN = re.compile(r"[ \t]*+=(?!=)[ \t]*+")
_NOTHING = re.compile(r"(?i:none|null|nil|true|false|undefined|str|bytes|\*+|\W{1,2})?")
_LINE_START = re.compile(r"(?:.*\n)?[\s+>#|*-]*", re.DOTALL)
_REST = {quote: re.compile(rf"[^\n{quote}]*+") for quote in ("", '"', "'")}


def _assigned(text: str) -> str:
    """Mask the values of secret names in a text."""
    parts, done, at = [], 0, 0
    while found := _ASSIGNED.search(text, at):
        at = found.end()
        if not _is_secret_at(text, found):
            continue
        begin, end = _value_at(text, found)
        if begin < end and not _NOTHING.fullmatch(text, begin, end):
            parts += [text[done:begin], MASK]
            done = at = end
    return "".join([*parts, text[done:]])


def _is_secret_at(text: str, found: Match[str]) -> bool:
    name = found["name"]
    before = text[max(0, found.start() - 24) : found.start()]
    if name[0] in "nrt" and before[-1:] == "\\":  # as in "...\nCookie: a=b"
        return is_secret_name(name[1:]) or (is_secret_name(name) and name[1:] not in DIRECTORIES)
    if name.lower() in _SECOND_WORDS:
        name = " ".join([*before.split()[-1:], name])
    return is_secret_name(name)


def _value_at(text: str, found: Match[str]) -> tuple[int, int]:
    """Return where the value that follows a name begins and ends."""
    quoted = found["quote"] is not None
    begin, end = _extent(text, found.end(), quoted)
    while again := _AGAIN.match(text, end):  # password: str = "..."
        end = _extent(text, again.end(), quoted)[1]
    if not quoted and _takes_line(text, found):
        end = max(end, _line_end(text, found))
    return begin, end


def _takes_line(text: str, found: Match[str]) -> bool:
    """Say whether the rest of the line is the value: `Cookie: a=b; c=d`, or `password: two words` on its own line."""
    if found["flag"] is not None:
        return False
    if found["name"].lower().endswith(("authorization", "cookie", "cookies")):
        return True
    return bool(found["blank"]) and bool(_LINE_START.fullmatch(text[max(0, found.start() - 16) : found.start()]))


def _line_end(text: str, found: Match[str]) -> int:
    before = text[max(0, found.start() - 1) : found.start()]
    rest = _REST[before if before in _REST else ""].match(text, found.end())
    assert rest is not None
    return rest.end()


def _extent(text: str, at: int, quoted: bool) -> tuple[int, int]:
    opening = _OPENING.match(text, at)
    if opening:
        return opening.end(), _closing(text, opening.end(), len(opening[1]), opening[2])
    if text[at : at + 1] in {"[", "(", "{"}:
        return at, _balanced(text, at, quoted)
    bare = _BARE.match(text, at)
    return at, at + len(bare[0].rstrip(")]}>'\"`\\.,:;")) if bare else at


def _closing(text: str, at: int, depth: int, quote: str) -> int:
    """Find the quote that closes one behind `depth` backslashes, where each of the value's own is 2 * (depth + 1)."""
    for found in _QUOTE.finditer(text, at):
        if found[2] == quote and len(found[1]) % (2 * depth + 2) == depth:
            return found.start()
    return len(text)


def _balanced(text: str, at: int, quoted: bool) -> int:
    """Find the end of a bracketed value. One that never ends takes the rest of the line, in JSON that of the text."""
    depth = 0
    for found in _BRACKET.finditer(text, at):
        depth += (found[0] in "[({") - (found[0] in "])}")
        if depth == 0:
            return found.end()
        if found[0] == "\n" and not quoted:
            return found.start()
    return len(text)
