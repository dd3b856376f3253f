"""Keeps secrets out of record bodies, before anything is written: by name, by shape, and environments by allow-list.

The value of a secret name goes whole, whatever it is (`ave.redact.names`); any text loses what looks like a secret
(`ave.redact.shapes`, loaded with the first suspect text). A secret with neither name nor shape is not recognised.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import is_not

from ave.record import DEPTH_MAX
from ave.redact.names import MASK, NAME_MAX, is_environment, is_hidden, is_secret_name
from ave.undisturbed import undisturbed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["MASK", "is_clean", "is_clean_json", "is_secret_name", "redact"]

#: What stands in the place of a dict or list below `DEPTH_MAX` levels, where nobody looks for secrets.
TOO_DEEP = f"[redacted: deeper than {DEPTH_MAX} levels]"

#: Texts whose first look is remembered, and the letters such a text may have.
SEEN_MAX = 1024
SEEN_LENGTH_MAX = 1024

# The first look at other texts: bytes.translate leaves lower-case letters and `@ _ -`, and each alternative starts with
# one of the rarer letters. It may suspect the innocent; it never passes over what a rule finds.

_KEPT = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@_-"
_LOWER = bytes(range(256)).lower()
_DROPPED = bytes(range(256)).translate(None, _KEPT)

_HINT = rb"""(?x) @ | w(?:(?<=pw)|(?<=[s_-]w)(?:or)?d|hsec_) | v(?:(?<=env)|[sbr](?<=hv[sbr]))
    | k(?:ey|en(?<=token)|ie(?<=cookie)|ia(?<=akia)|(?<=psk)|[_-](?<=[sr]k[_-])) | z(?:(?<=oriz)|a(?<=aiza))
    | j(?:(?<=eyj)|wt) | x(?:ox|app-) | b(?:earer|asic) | c(?:re[dt]|onn(?:ection)?[_-]*str)
    | p(?:hrase|ypi-|ass(?:(?<=[_-]pass)|(?<=(?:db|er|tp|sh|xy|ap|in|ot|ql|do|il)pass))) | s(?:ia(?<=asia)|ignature)
    | uth(?<=auth) | _(?:pat_|(?<=gh[opsur]_)|(?<=npm_)|(?<=hf_)) | -(?:(?<=gl[a-z]{2}-)|(?<=gl[a-z]{3}-))"""

#: What has one of these is more than a flag alone.
_NO_FLAG = frozenset("= \n")

_seen: dict[bytes, bool] = {}
_seen_names: dict[tuple[str, ...], bool] = {}


def is_clean(body: dict[str, Any], text: str, names: tuple[str, ...] | None = None, *, has_lists: bool = False) -> bool:
    """Say whether nothing has to go from a body; the hot path of every emit.

    Args:
        body: JSON-safe; its keys are strings.
        text: its string values on all levels, joined by whatever is no letter.
        names: its keys on all levels; may be left out if there is but one.
        has_lists: in a list, a plain word may name the secret that follows it.

    True is certain. What is found out about the names is remembered, for the records of a job have few shapes.
    """
    innocent = (not has_lists and _is_prose(text)) or _looks_innocent(text)
    if innocent:
        names = tuple(body) if names is None else names
        verdict = _seen_names.get(names)
        if verdict is None:
            # as values are not looked at here, names that would mask any value, or speak of another's, are suspects
            verdict = "value" not in names and not any(map(_is_suspect, names))
            _remember(_seen_names, names, verdict)
        innocent = verdict
    return innocent or redact(body) is body


def is_clean_json(text: str) -> bool:
    """Say whether nothing has to go from a JSON text that has no escapes; True is certain.

    Escapes may stand amid a word. Without them all names and values are there as they are, and no rule masks anything
    unless the first look suspects a name or a value.
    """
    return "\\" not in text and _looks_innocent(text)


def _is_prose(text: str) -> bool:
    """Take a glance: every rule needs one of these characters or words. `in` finds one character in no time."""
    if "=" in text or ":" in text or "@" in text or "<" in text or "_" in text or "--" in text or "hv" in text:
        return False
    if "-" in text and ("sk" in text or "x" in text or "gl" in text or "pypi" in text or "AGE" in text):
        return False
    if "J" in text or ("A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text)):
        return False
    low = text.lower()
    return "bearer" not in low and "basic" not in low


def _looks_innocent(text: str) -> bool:
    """Take the first look, remembered by the letters of the text, for those of a job often differ in numbers only."""
    letters = text.encode("utf-8", "replace").translate(_LOWER, _DROPPED)
    innocent = _seen.get(letters)
    if innocent is None:
        innocent = not _hint().search(letters)
        if len(letters) <= SEEN_LENGTH_MAX:
            _remember(_seen, letters, innocent)
    return innocent


def _is_suspect(name: str) -> bool:
    shown, secret, is_env = _key(name)
    return secret or is_env or shown != name


def _remember(verdicts: dict[Any, bool], what: bytes | tuple[str, ...], verdict: bool) -> None:
    if len(verdicts) >= SEEN_MAX:
        verdicts.clear()
    verdicts[what] = verdict


def redact(body: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON-safe body without its secrets: itself when it has none, else a copy. Never changes its argument."""
    return _dict(body, 1, env=False)


@lru_cache(1)
def _hint() -> re.Pattern[bytes]:
    """Return the compiled pattern; compiling it costs as much as a tenth of `import json`, so not at import."""
    return undisturbed(lambda: re.compile(_HINT))


@lru_cache(1)
def _shapes() -> ModuleType:
    """Return `ave.redact.shapes`: its patterns cost 5 ms, and most jobs never need them."""

    def load() -> ModuleType:
        from ave.redact import shapes  # noqa: PLC0415

        return shapes

    return undisturbed(load)


def _text(text: str) -> str:
    if not _hint().search(text.encode("utf-8", "replace").translate(_LOWER, _DROPPED)):
        return text
    clean: str = _shapes().masked(text)
    return clean


# The walk. `env` is true for the value of a key such as `environ`. What needs no change is returned itself.


def _value(value: Any, depth: int, env: bool) -> Any:
    if isinstance(value, str):
        return _text(_variables(value) if env else value)
    if isinstance(value, (dict, list)) and depth > DEPTH_MAX:
        return TOO_DEEP
    if isinstance(value, dict):
        return _dict(value, depth, env)
    return _list(value, depth, env) if isinstance(value, list) else value


def _dict(value: dict[str, Any], depth: int, env: bool) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    changed = False
    label = _label(value)
    for key, item in value.items():
        name, secret, is_env = _key(key) if len(key) <= NAME_MAX else _key.__wrapped__(key)
        if label and key == "value":
            secret = is_hidden(label, env)
        elif env and not label:
            secret = is_hidden(key, env)
        new = _whole(item) if secret else _value(item, depth + 1, is_env)
        changed = changed or new is not item or name != key
        while name in copy:  # two keys may look alike once they are masked
            name += "'"
        copy[name] = new
    return copy if changed else value


@lru_cache(4096)
def _key(key: str) -> tuple[str, bool, bool]:
    """Return the key without the secrets in it, and whether it names a secret or an environment."""
    return _text(key), is_secret_name(key), is_environment(key)


def _label(value: dict[str, Any]) -> str:
    """Return what {"name": ..., "value": ...} speaks of; empty for any other dict."""
    label = value.get("name") or value.get("key") if "value" in value else ""
    return label if isinstance(label, str) else ""


def _list(value: list[Any], depth: int, env: bool) -> list[Any]:
    copy = []
    after_flag = in_key = False
    for item in value:
        text = item if isinstance(item, str) else ""
        begins, ends = _key_marks(text)
        if (after_flag and text[:2] != "--") or (in_key and text and not begins and not ends):
            new = _whole(item)
        elif isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and is_hidden(item[0], env):
            pair = [_text(item[0]), _whole(item[1])]
            new = item if pair == item else pair
        else:
            new = _value(item, depth + 1, env)
        copy.append(new)
        # the words of a command, and the lines of a private key
        after_flag = text[:1] == "-" and _NO_FLAG.isdisjoint(text) and is_secret_name(text)
        in_key = begins or (in_key and not ends)
    return copy if any(map(is_not, copy, value)) else value


def _key_marks(text: str) -> tuple[bool, bool]:
    """Say whether a private key begins in a text and does not end there, and whether one ends."""
    if "PRIVATE KEY" not in text:
        return False, False
    begin, end = text.rfind("BEGIN "), text.rfind("END ")
    return begin > end, end >= 0


def _whole(value: Any) -> Any:
    """Return what stands for the value of a secret name: where there is nothing to hide, the value itself."""
    return value if value is None or isinstance(value, bool) or value in ("", [], {}, MASK) else MASK


def _variables(text: str) -> str:
    """Mask the values in a printed environment, a variable a line (or NUL-terminated, as in /proc)."""
    clean: str = _shapes().variables_masked(text)
    return clean
