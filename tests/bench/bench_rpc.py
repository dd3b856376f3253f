"""What a call costs over AVE RPC, against the floor and the peers, all in one run and between two processes.

The floor is the least that can carry a call: a blocking socket on both sides, a length before each message, and the
standard library's json. Calls of all sides alternate, so that they share whatever else the machine does.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import socket
import time
import xmlrpc.client
import xmlrpc.server
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any

from table import finish, heading, home, percentile, row

from ave import home as homes
from ave.lab import config
from ave.network import Control, RemoteControl, find_free_port

GUID = "bench-guid-0001"
ENTRY = {
    "title": "flashing",
    "handset": "CB5A1YEDW0",
    "step": 3,
    "ok": True,
    "duration": 1.25,
    "message": "wrote and verified the image of slot b after 2 retries",
    "build": "2026-11-22-nightly-0042",
}
KEY = "bench"
CALLS = 4_000
IDLE = 2_000
LARGE_CALLS = 9

#: What a service may be asked for, by name; of each, JSON has 32 MiB.
RESULTS = {
    "one text": "x" * (32 << 20),
    "many dicts": [ENTRY] * ((32 << 20) // len(json.dumps(ENTRY) + ", ")),
}

LENGTH = Struct(">I")

FORK = multiprocessing.get_context("fork")

Echo = Callable[[object], object]
Report = Callable[[Any], object]


# The floor


def send(sock: socket.socket, value: object) -> None:
    text = json.dumps(value).encode()
    sock.sendall(LENGTH.pack(len(text)) + text)


def receive(sock: socket.socket) -> object:
    data = sock.recv(65536)
    if not data:
        raise EOFError
    (size,) = LENGTH.unpack_from(data)
    if len(data) < 4 + size:
        whole = bytearray(4 + size)
        whole[: len(data)] = data
        rest = memoryview(whole)[len(data) :]
        while rest:
            rest = rest[sock.recv_into(rest) :]
        data = whole
    return json.loads(data[4:])


def floor() -> Echo:
    """Return the least that can carry a call; asked for a name, it answers with that result."""

    def serve(report: Report) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        report(listener.getsockname())
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            value = receive(sock)
            send(sock, RESULTS[value] if isinstance(value, str) else value)

    sock = socket.create_connection(beside(serve))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def echo(value: object) -> object:
        send(sock, value)
        return receive(sock)

    return echo


# Ours


class Service(Control):
    """Gives back what it gets."""

    @Control.rpc
    @Control.auth
    def echo(self, value: object) -> object:
        return value

    @Control.rpc
    @Control.auth
    def result(self, name: str) -> object:
        return RESULTS[name]


@contextlib.contextmanager
def serving(path: str, *, trace: object = False) -> Iterator[Service]:
    """Give a service of ours in a home of its own, with this `trace` in panotti.json."""
    os.makedirs(path)
    config.bootstrap(path)
    panotti = homes.ave(path, "config", "panotti.json")
    with open(panotti, encoding="utf-8") as file:
        settings = json.load(file)
    with open(panotti, "w", encoding="utf-8") as file:
        json.dump({**settings, "trace": trace}, file)
    service = Service(find_free_port(), KEY, home=path)
    service.start(synchronize=True)
    try:
        yield service
    finally:
        service.terminate()
        service.join()


@contextlib.contextmanager
def ours(path: str, *, trace: object = False) -> Iterator[RemoteControl]:
    """Give a client of such a service, with a MAC on every frame."""
    with serving(path, trace=trace) as service, client_of(service) as remote:
        yield remote


def client_of(service: Service) -> RemoteControl:
    """Return a client that has yet to connect."""
    return RemoteControl(("", service.port), KEY, home=service.home, require_auth=True)


@contextlib.contextmanager
def in_a_job() -> Iterator[None]:
    """Let clients made meanwhile belong to a run."""
    os.environ["VCSJOB_GUID"] = GUID
    try:
        yield
    finally:
        del os.environ["VCSJOB_GUID"]


# The peers


def connection() -> Echo:
    """Call through multiprocessing.connection, which pickles."""

    def serve(report: Report) -> None:
        listener = multiprocessing.connection.Listener(("127.0.0.1", 0), authkey=KEY.encode())
        report(listener.address)
        peer = listener.accept()
        while True:
            peer.send(peer.recv())

    client = multiprocessing.connection.Client(beside(serve), authkey=KEY.encode())

    def echo(value: object) -> object:
        client.send(value)
        return client.recv()

    return echo


def rpyc(*, by_value: bool) -> Echo:
    """Call through RPyC. By itself it sends a reference to a dict, and no byte of it; a tuple goes by value."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    class Echoing(rpyc.Service):
        def exposed_echo(self, value: object) -> object:
            return value

        def exposed_echo_pairs(self, pairs: tuple[tuple[str, object], ...]) -> object:
            return tuple(dict(pairs).items())

    def serve(report: Report) -> None:
        server = ThreadedServer(Echoing, hostname="127.0.0.1", port=0)
        server._listen()
        report(("127.0.0.1", server.port))
        server.start()

    root = rpyc.connect(*beside(serve)).root
    # each look at an attribute of the root is a call of its own
    echo, echo_pairs = root.echo, root.echo_pairs
    return (lambda value: dict(echo_pairs(tuple(value.items())))) if by_value else echo


def pyro() -> Echo:
    """Call through Pyro5."""
    import Pyro5.api

    @Pyro5.api.expose
    class Echoing:
        def echo(self, value: object) -> object:
            return value

    def serve(report: Report) -> None:
        daemon = Pyro5.api.Daemon()
        report(daemon.register(Echoing))
        daemon.requestLoop()

    return Pyro5.api.Proxy(beside(serve)).echo


def xml() -> Echo:
    """Call through the standard library's xmlrpc."""

    def serve(report: Report) -> None:
        server = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
        server.register_function(lambda value: value, "echo")
        report(f"http://127.0.0.1:{server.server_address[1]}")
        server.serve_forever()

    return xmlrpc.client.ServerProxy(beside(serve)).echo


# Measuring


def beside(serve: Callable[[Report], object]) -> Any:
    """Serve in a process of its own, which ends with this one; return what it reports, its address."""
    answer, report = FORK.Pipe(duplex=False)

    def run() -> None:
        with contextlib.suppress(EOFError):
            serve(report.send)

    FORK.Process(target=run, daemon=True).start()
    return answer.recv()


def alternating(calls: list[Echo], value: object, times: int, batch: int = 100) -> list[list[int]]:
    """Time `times` calls of each, in nanoseconds, a batch of one and a batch of the next; the first ones warm up."""
    taken: list[list[int]] = [[] for _ in calls]
    for turn in range(times // batch + 1):
        for call, into in zip(calls, taken, strict=True):
            for _ in range(batch):
                began = time.perf_counter_ns()
                call(value)
                if turn:
                    into.append(time.perf_counter_ns() - began)
    return taken


def p50s(calls: list[Echo], value: object, times: int, batch: int = 100) -> list[float]:
    """Return the median of each call, in microseconds."""
    return [percentile(taken, 0.5) for taken in alternating(calls, value, times, batch)]


# The tables


def echo(path: str) -> list[bool]:
    """Compare with the floor and with the peers."""
    heading("echo of a 200-byte dict, between two processes")
    with ours(f"{path}/echo") as remote, in_a_job(), ours(f"{path}/job") as job:
        peers = {
            "RPyC, the dict by value": rpyc(by_value=True),
            "RPyC, a reference to the dict": rpyc(by_value=False),
            "Pyro5": pyro(),
            "xmlrpc": xml(),
            "multiprocessing.connection": connection(),
        }
        calls = [floor(), remote.echo, job.echo, *peers.values()]
        assert all(call(ENTRY) == ENTRY for call in calls)
        base, cost, in_job, *theirs = p50s(calls, ENTRY, CALLS)
    row("floor p50", f"{base:.0f} us")
    row("AVE RPC p50, each frame with its MAC", f"{cost:.0f} us")
    results = [row("  AVE RPC / floor", f"{cost / base:.2f}", "<= 1.8", cost / base <= 1.8)]
    row("AVE RPC p50 in a job, with GUID and traceparent", f"{in_job:.0f} us")
    for name, peer in zip(peers, theirs, strict=True):
        row(f"{name} p50", f"{peer:.0f} us")
    ahead = theirs[0] / cost
    return [*results, row("  RPyC / AVE RPC", f"{ahead:.2f}", ">= 1.3", ahead >= 1.3)]


def tracing(path: str) -> list[bool]:
    """Compare calls that are traced on both sides with calls that are not.

    The mean has what the p50 has not: the moments in which what waited for company is written.
    """
    heading("the same in a job, traced")
    settings = {"not traced": False, "traced": True, "a tenth traced": {"sample": 0.1}}
    with in_a_job(), contextlib.ExitStack() as stack:
        calls = [stack.enter_context(ours(f"{path}/{name}", trace=trace)).echo for name, trace in settings.items()]
        taken = alternating(calls, ENTRY, CALLS)
    p50, mean = [percentile(times, 0.5) for times in taken], [sum(times) / len(times) / 1000 for times in taken]
    for name, middle, average in zip(settings, p50, mean, strict=True):
        row(f"{name} p50", f"{middle:.0f} us")
        row(f"{name} mean", f"{average:.0f} us")
    row("  mean traced / not traced", f"{mean[1] / mean[0]:.2f}")
    row("  p50 of a tenth traced / not traced", f"{p50[2] / p50[0]:.2f}")
    return [row("  p50 traced / not traced", f"{p50[1] / p50[0]:.2f}", "<= 1.2", p50[1] / p50[0] <= 1.2)]


def idle(path: str) -> list[bool]:
    """Compare a service that has the one client with one that has many more, which are silent."""
    heading(f"the same beside {IDLE:,} idle connections")
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(ours(f"{path}/alone"))
        service = stack.enter_context(serving(f"{path}/crowded"))
        for _ in range(IDLE):
            stack.enter_context(client_of(service)).echo(None)
        crowded = stack.enter_context(client_of(service))
        one, many = p50s([alone.echo, crowded.echo], ENTRY, CALLS)
    row("alone p50", f"{one:.0f} us")
    row("crowded p50", f"{many:.0f} us")
    return [row("  crowded / alone", f"{many / one:.2f}", "<= 1.1", many / one <= 1.1)]


def large(path: str) -> list[bool]:
    """Compare the time of a large result with that of the same through the floor."""
    results = []
    with ours(f"{path}/large") as remote:
        raw = floor()
        for name in RESULTS:
            heading(f"a result of 32 MiB: {name}")
            base, cost = p50s([raw, remote.result], name, LARGE_CALLS, 1)
            row("floor p50", f"{base / 1000:.0f} ms")
            row("AVE RPC p50", f"{cost / 1000:.0f} ms")
            results.append(row("  floor / AVE RPC", f"{base / cost:.0%}", ">= 50%", base / cost >= 0.5))
    return results


def main() -> None:
    """Print the tables."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with home() as path:
        results = echo(path) + tracing(path) + idle(path) + large(path)
    finish(results)


if __name__ == "__main__":
    main()
