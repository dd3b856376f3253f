"""The git program, kept from asking for anything, from outliving its time, and from running what others wrote.

It sees an environment of its own, no terminal and no hooks; it speaks the protocols of `PROTOCOLS` only, however a
URL is rewritten. What it needs to log in comes from the user's own settings: ssh agent, keys, credential helpers.
"""

from __future__ import annotations

import os
import select
import signal
import time

from ave.exceptions import RunError, Timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

__all__ = ["PROTOCOLS", "Git", "masked"]

#: What git may use to reach a repository; `ext`, `fd` and every remote helper besides stay shut.
PROTOCOLS = ("file", "git", "ssh", "http", "https")

#: Variables of the caller that git sees: where its programs, settings, keys, proxies and certificates are.
_KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "KRB5CCNAME"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"),
)

#: The messages that are looked at are English; nothing asks on a terminal, in a window or through a program.
_SET = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
}

#: No hook, no monitor, no submodule, and nothing that goes on in the background after git has ended.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
)

#: What is kept of an answer; a tree with a million changed files needs no more to be called dirty. Bytes.
_ANSWER_MAX = 65536

#: What git is given to clean up (it removes its lock files) before it is killed. Seconds.
GRACE_S = 2.0

#: How often it is asked whether git has ended while something else still holds its output. Seconds.
_ASK_S = 0.1


class Git:
    """Runs git in one tree, all calls together within one time.

    Args:
        tree: absolute path of the work tree.
        timeout: seconds; falsy is for ever.
        progress: called with each line that git says about how far it is; None keeps git from saying any.

    Attributes:
        ssh: the command that reaches a host; it is told not to ask.
    """

    def __init__(self, tree: str, timeout: float | None, progress: Callable[[str], object] | None = None) -> None:
        self.tree = tree
        self.progress = progress
        self.ssh = os.environ.get("GIT_SSH_COMMAND") or "ssh"
        self._deadline = time.monotonic() + timeout if timeout else None

    def __call__(self, *arguments: str) -> str:
        """Run git with these arguments and return what it wrote to stdout, without the last line end.

        Raises:
            RunError: git is missing or failed; `details["out"]` has what it wrote to stderr.
            Timeout: the time is over; git and its helpers are dead.
        """
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        command = ["git", "-C", self.tree, *settings, *arguments]
        process = self._start(command)
        try:
            out, err = self._collect(process)
            status = process.wait()
        except BaseException:
            _kill(process)
            raise
        finally:
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        if status:
            raise RunError(masked(command), masked(err), masked(_shown(err) or f"git ended with {status}"))
        return out.rstrip("\n")

    def says(self, *arguments: str) -> str | None:
        """Run git and return what it wrote, or None if it failed: for a question whose answer may be no."""
        try:
            return self(*arguments)
        except RunError:
            return None

    def check_time(self) -> None:
        """Raise Timeout if the time is over."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise Timeout("command timed out")

    def _start(self, command: list[str]) -> Popen[bytes]:
        from subprocess import DEVNULL, PIPE, Popen  # noqa: PLC0415 - for schedulers alone; a job never fetches

        try:
            return Popen(  # noqa: S603 - git itself; what it is given is checked in vcsjob.sources
                command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=self._environment(), start_new_session=True
            )
        except FileNotFoundError as exc:
            raise RunError(command, "", "git is not installed; install it, e.g.: apt-get install git") from exc
        except OSError as exc:
            raise RunError(command, "", f"git cannot be run: {exc.strerror}") from exc

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # Without this, a directory inside another repository would be taken for a part of that.
        ceiling = {"GIT_CEILING_DIRECTORIES": os.path.dirname(self.tree)}
        return {**kept, **_SET, **ceiling, "GIT_SSH_COMMAND": f"{self.ssh} -oBatchMode=yes"}

    def _collect(self, process: Popen[bytes]) -> tuple[str, str]:
        """Read what git writes until it has ended, whoever else may hold its output open."""
        assert process.stdout and process.stderr
        answers = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
        poll = select.poll()
        for fd in answers:
            poll.register(fd, select.POLLIN)
        held = len(answers)
        while True:
            ended = _has_ended(process.pid)
            ready = poll.poll(0 if ended else _ASK_S * 1000) if held else []
            for fd, _ in ready:
                data = os.read(fd, _ANSWER_MAX)
                if not data:
                    poll.unregister(fd)
                    held -= 1
                if fd == process.stderr.fileno():
                    answers[fd] = (answers[fd] + data)[-_ANSWER_MAX:]  # why it failed comes last
                    self._tell(data)
                else:
                    answers[fd] = (answers[fd] + data)[:_ANSWER_MAX]
            if ended and not ready:
                break
            if not ended and not held:
                time.sleep(_ASK_S / 10)
            self.check_time()
        out, err = (answer.decode(errors="replace") for answer in answers.values())
        return out, err

    def _tell(self, data: bytes) -> None:
        lines = data.decode(errors="replace").replace("\r", "\n").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if self.progress and last:
            self.progress(last)


def _shown(text: str) -> str:
    # no progress, no hints, and not the whole of a long tale
    lines = [line.rpartition("\r")[2].strip() for line in text.split("\n")]
    told = [line for line in lines if line and not line.startswith(("hint:", "warning: redirecting"))]
    return "; ".join(told[-10:])


def masked(what: str | list[str]) -> str:
    """Return a text, or a command as one, without the passwords in its URLs."""
    from ave.redact import redact  # noqa: PLC0415 - for failures alone

    text = what if isinstance(what, str) else " ".join(what)
    return str(redact({"text": text})["text"])


def _has_ended(pid: int) -> bool:
    # It stays a zombie, so that the id of its process group cannot be another's when that is signalled.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(process: Popen[bytes]) -> None:
    """End git and everything it started, gently first, and take it off the process table."""
    deadline = time.monotonic() + GRACE_S
    _signal(process.pid, signal.SIGTERM)
    while not _has_ended(process.pid) and time.monotonic() < deadline:
        time.sleep(_ASK_S / 10)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
