"""Services that tests call."""

from __future__ import annotations

import os
import time

from ave.exceptions import AveException, Exit, RunError, Timeout
from ave.network import Control, current_guid
from ave.panotti import shout


class Wire(Control):
    """The service whose traffic the golden file holds."""

    @Control.rpc
    def echo(self, *vargs, **kwargs):
        return vargs, kwargs

    @Control.rpc
    def none(self):
        return None

    @Control.rpc
    def boom(self, m="bang"):
        raise ValueError(m)

    @Control.rpc
    def ave(self, d):
        raise AveException(d)

    @Control.rpc
    def runerr(self):
        raise RunError(["ls"], "output", "failed")

    @Control.rpc
    def timeout(self):
        raise Timeout("too slow")

    @Control.rpc
    def badbytes(self):
        return {"t": (1, 2.5, True, None), b"k\xff": b"v\xff", "n": 1}

    def hidden(self):
        raise AssertionError("never called")

    @Control.rpc
    @Control.auth
    def authed(self):
        return "authed"

    @Control.rpc
    @Control.preauth("admin")
    def pre(self):
        return "pre"

    @Control.rpc
    @Control.preauth("nobody")
    def pre_unknown(self):
        return "anon"

    @Control.rpc
    def obj(self):
        return object()

    @Control.rpc
    def exit(self):
        raise Exit("bye")


KEYS = {"authkey": "secret", "alt_keys": {"admin": "adm", "nokey": None}}


class Bench(Wire):
    """Further methods: slow, large, counting, telling."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.count = 0
        self.hooks = []

    @Control.rpc
    def count_up(self):
        self.count += 1
        return self.count

    @Control.rpc
    def counted(self):
        return self.count

    @Control.rpc
    def large(self, size):
        return "x" * size

    @Control.rpc
    def length(self, text):
        return len(text)

    @Control.rpc
    def sleep(self, seconds):
        time.sleep(seconds)
        return "slept"

    @Control.rpc
    def die(self):
        os._exit(3)

    @Control.rpc
    def guid(self):
        return current_guid()

    @Control.rpc
    def shout(self, text):
        shout(None, {"title": text})

    @Control.rpc
    def seen(self):
        return self.hooks

    @Control.rpc
    def fds(self):
        return len(os.listdir("/proc/self/fd"))

    @property
    def secret(self):
        raise AssertionError("nobody may look")

    def new_connection(self, connection, authkey):
        self.hooks.append(["new", authkey])

    def lost_connection(self, connection, authkey):
        self.hooks.append(["lost", authkey])

    def idle(self):
        self.hooks.append(["idle"])
