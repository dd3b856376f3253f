"""Which names have secrets as values, and which variables of an environment are public.

A name is looked at as lower-case words without digits: `X-ApiKey2` is x, api, key.
"""

# ruff: noqa: SIM905 - tables of words are easier to read as words

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["DIRECTORIES", "MASK", "NAME_MAX", "is_environment", "is_hidden", "is_secret_name", "words"]

#: What stands in the place of a secret.
MASK = "[redacted]"

#: Characters at the end of a name that tell what it is.
NAME_MAX = 200

#: Variables that look like a password's, but are the shell's working directories.
DIRECTORIES = frozenset({"PWD", "OLDPWD"})

#: A secret by themselves, and with anything in front: `dbpassword`, `clientsecret`.
_ENDINGS = tuple(
    "password passwords passwd passphrase passphrases passkey pwd psk secret secrets token cookie cookies "
    "credential credentials apikey apikeys accesskey accesskeys privatekey privatekeys secretkey secretkeys".split()
)
_ALONE = frozenset({"authorization", "bearer", "cred", "creds", "jwt", "pw"})

_KEYS = frozenset(
    "access account api app auth cipher decryption deploy encrypt encryption hmac licence license master pgp gpg "
    "private rsa secret session shared sign signing ssh ssl storage subscription tls vault webhook wep wifi wpa".split()
)
_PASSES = frozenset("admin db ftp http ldap login mail proxy root smtp sql ssh sudo user".split())
_CONNECTIONS = frozenset({"conn", "connection"})

#: Words that are a secret's only behind certain others, joined to them or not: `session_key`, `sshkey`, but not `key`.
_PAIRS = {
    "key": _KEYS,
    "keys": _KEYS,
    "pass": _PASSES,
    "auth": frozenset("basic http https ldap proxy smtp wifi wlan".split()),
    "tokens": frozenset("access api auth bearer csrf jwt oauth refresh secret session".split()),
    "signature": frozenset({"access", "amz"}),
    "str": _CONNECTIONS,
    "string": _CONNECTIONS,
    "word": frozenset({"pass"}),
    "phrase": frozenset({"pass"}),
}

#: Words that make a name speak *about* a secret, anywhere: `has_password`, `max_token`.
_ABOUT = frozenset(
    "allow allows are avg can cannot has have if is max mean min must need needs no non not nr num per require "
    "requires should total was when with without".split()
)

#: The same as the last word: `token_count`, `password_policy`, `test_token.py`.
_ABOUT_AT_END = frozenset(
    "age alg algorithm at audience authentication bucket budget cache changed checker class cost count counter "
    "counts created date denied dir directory disabled duration enabled endpoint error errors exception exchange "
    "expired expires expiry factory failed failure field fields file filename files fingerprint form format found "
    "generator handler helper hint hits host id ids index invalid issuer kind latency left len length lifetime "
    "limit limits line lookup manager mismatch misses missing mode ms name names number offset ok page parser path "
    "paths percent policies policy port pos position prefix present prompt provider quota rate ratio reference "
    "remaining request required reset resets response result rotation rule rules scheme scope scopes score scores "
    "seconds set size source speed state status store strength suffix throughput time timeout ttl type types "
    "updated uri url usage used username utils valid validator validity version warning c cc cfg conf cpp csv go h "
    "hpp html ini java js json log md py rb rs sh sql toml ts txt xml yaml yml".split()
)

_ENVIRONMENTS = frozenset({"env", "environ", "environment", "env vars", "environment variables", "os environ"})

_PUBLIC = frozenset(
    # the machine and the session
    "LANG LANGUAGE PATH HOME USER LOGNAME SHELL TERM TZ PWD HOSTNAME TMPDIR AVE_HOME TRACEPARENT CI "
    # Jenkins
    "BUILD_URL BUILD_NUMBER BUILD_ID BUILD_TAG BUILD_DISPLAY_NAME JOB_NAME JOB_BASE_NAME JOB_URL NODE_NAME "
    "EXECUTOR_NUMBER JENKINS_URL WORKSPACE GIT_COMMIT GIT_BRANCH BRANCH_NAME CHANGE_ID "
    # GitLab
    "GITLAB_CI CI_JOB_ID CI_JOB_NAME CI_JOB_URL CI_JOB_STAGE CI_PIPELINE_ID CI_PIPELINE_URL CI_PIPELINE_SOURCE "
    "CI_PROJECT_ID CI_PROJECT_NAME CI_PROJECT_PATH CI_PROJECT_URL CI_COMMIT_SHA CI_COMMIT_SHORT_SHA CI_COMMIT_BRANCH "
    "CI_COMMIT_TAG CI_COMMIT_REF_NAME CI_RUNNER_ID CI_NODE_INDEX CI_NODE_TOTAL CI_SERVER_URL "
    # GitHub
    "GITHUB_ACTIONS GITHUB_RUN_ID GITHUB_RUN_NUMBER GITHUB_RUN_ATTEMPT GITHUB_SHA GITHUB_REF GITHUB_REF_NAME "
    "GITHUB_REPOSITORY GITHUB_WORKFLOW GITHUB_JOB GITHUB_SERVER_URL GITHUB_EVENT_NAME RUNNER_NAME RUNNER_OS "
    "RUNNER_ARCH "
    # Zuul
    "ZUUL_UUID ZUUL_BUILD ZUUL_PROJECT ZUUL_BRANCH ZUUL_CHANGE ZUUL_PATCHSET ZUUL_PIPELINE ZUUL_REF ZUUL_COMMIT "
    "ZUUL_NEWREV".split()
)
_PUBLIC_PREFIXES = ("LC_", "VCSJOB_")

# control characters are words, for they are none in the JSON text that is_clean() looks at
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[\0-\x1f]")


def words(name: str) -> list[str]:
    """Return the lower-case words of a name; case, digits and every other character part them."""
    return " ".join(_WORD.findall(name)).lower().split(" ")


def is_secret_name(name: str) -> bool:
    """Say whether the value of a key, variable, header or option of this name is a secret. Remembered."""
    return _is_secret_name(name[-NAME_MAX:])


@lru_cache(4096)
def _is_secret_name(name: str) -> bool:
    parts = words(name)
    if not any(map(_is_secret, parts, ["", *parts])) or name in DIRECTORIES:
        return False
    at_end = parts[-1] in _ABOUT_AT_END and parts[-2:] != ["secret", "id"]
    return not at_end and _ABOUT.isdisjoint(parts)


def _is_secret(word: str, before: str) -> bool:
    if word.endswith(_ENDINGS) or word in _ALONE:
        return True
    return any(word.endswith(end) and (word[: -len(end)] or before) in owners for end, owners in _PAIRS.items())


def is_environment(name: str) -> bool:
    """Say whether a dict, list or text of this name holds the variables of an environment."""
    return " ".join(words(name[-NAME_MAX:])) in _ENVIRONMENTS


def is_hidden(name: str, env: bool) -> bool:
    """Say whether a value of this name is masked; in an environment that is what is not public."""
    return is_secret_name(name) or (env and name not in _PUBLIC and not name.startswith(_PUBLIC_PREFIXES))
