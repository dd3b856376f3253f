"""TLS: the same calls inside it, and nothing for who cannot be trusted."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time

import pytest
import trustme
from original import Client, Wire, frame
from services import KEYS, Bench

from ave.exceptions import AveException, ConfigError, ConnectionFailed, ConnectionRefused, ConnectionTimeout
from ave.network import RemoteControl, disconnect, server
from ave.testing import wait_until


class Authority:
    """A certificate authority of the lab, the files of one server, and a client that trusts it."""

    def __init__(self, path):
        self.authority = trustme.CA()
        self.trusted = str(path / "ca.pem")
        self.authority.cert_pem.write_to_path(self.trusted)
        self.files = self.certificate(path, "localhost")

    def certificate(self, path, *names, **options):
        certificate = self.authority.issue_cert(*names, **options)
        files = str(path / f"{names[0]}.crt"), str(path / f"{names[0]}.key")
        with open(files[0], "wb") as file:
            file.writelines(blob.bytes() for blob in certificate.cert_chain_pems)
        certificate.private_key_pem.write_to_path(files[1])
        return files


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def bench(serve, lab):
    return serve(Bench, **KEYS, tls=lab.files)


@pytest.fixture
def remote(bench, lab):
    with RemoteControl(("localhost", bench.port), "secret", 10, tls=lab.trusted) as remote:
        yield remote


def test_calls_travel_inside_tls(remote):
    assert remote.authed() == "authed"
    assert remote.echo("å", a=1) == [["å"], {"a": 1}]
    with pytest.raises(AveException, match="bang"):
        remote.boom()
    assert isinstance(remote._connection.socket, ssl.SSLSocket)
    assert remote._connection.session.numbered


def test_large_values_pass_both_ways(remote):
    text = "x" * 3_000_000
    assert remote.echo(text) == [[text], {}]


def test_a_connection_that_lasts_is_used_again_and_asynchronous_calls_work(remote):
    remote.count_up(__async__=True)
    remote.nosuch(__async__=True)
    connection = remote._connection
    assert remote.count_up() == 2
    assert remote.count_up() == 3
    assert remote._connection is connection


def test_a_call_has_its_time_limit_inside_tls(bench, lab):
    with RemoteControl(("localhost", bench.port), None, 0.3, tls=lab.trusted) as remote:
        remote.none()
        with pytest.raises(ConnectionTimeout):
            remote.sleep(0.6)


def test_an_original_client_is_served_inside_tls(serve, lab, monkeypatch):
    control = serve(Bench, **KEYS, tls=lab.files, legacy=True)
    context = ssl.create_default_context(cafile=lab.trusted)
    connect = socket.create_connection
    monkeypatch.setattr(
        socket, "create_connection", lambda *a, **o: context.wrap_socket(connect(*a, **o), server_hostname="localhost")
    )
    pieces = lambda data: [data[at : at + 1] for at in range(len(data))]  # noqa: E731
    with Client(control.port, b"secret", pieces) as client:
        assert client.call("authed") == {"result": "authed"}
        assert [client.call("echo", number) for number in range(3)] == [
            {"result": [[number], {}]} for number in range(3)
        ]


def test_many_requests_in_one_tls_record_are_all_answered(serve, lab):
    control = serve(Bench, tls=lab.files, legacy=True)
    context = ssl.create_default_context(cafile=lab.trusted)
    with (
        socket.create_connection(("127.0.0.1", control.port), timeout=10) as sock,
        Wire(context.wrap_socket(sock, server_hostname="localhost")) as wire,
    ):
        wire.receive()
        # before the service reads with more than a small buffer
        wire.send_raw(frame(b"0" * 16) + frame(b'{"method": "none", "params": {"vargs": [], "kwargs": {}}}') * 100)
        assert json.loads(wire.receive()) == {"authenticated": False}
        assert [wire.receive() for _ in range(100)] == [b'{"result":null}'] * 100


def test_a_server_of_another_name_or_authority_is_not_called(serve, lab, tmp_path):
    control = serve(Bench, tls=lab.certificate(tmp_path, "other.example"))
    for trusted in (lab.trusted, True):
        with (
            RemoteControl(("localhost", control.port), None, 5, tls=trusted) as remote,
            pytest.raises(ConnectionRefused, match=r"no TLS connection to localhost.*certificate"),
        ):
            remote.none()


def test_a_client_without_tls_gets_nowhere_with_a_server_that_has_it(bench, lab):
    with RemoteControl(("localhost", bench.port), None, 1) as remote, pytest.raises(ConnectionFailed):
        remote.none()
    with RemoteControl(("localhost", bench.port), None, 10, tls=lab.trusted) as remote:
        assert remote.none() is None


def test_a_server_without_tls_is_not_talked_to_by_a_client_that_wants_it(serve, lab):
    control = serve(Bench)
    with (
        RemoteControl(("localhost", control.port), None, 2, tls=lab.trusted) as remote,
        pytest.raises(ConnectionFailed, match=r"TLS|closed"),
    ):
        remote.none()


def test_old_tls_is_refused(bench, lab):
    context = ssl.create_default_context(cafile=lab.trusted)
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with RemoteControl(("localhost", bench.port), None, 5, tls=context) as remote, pytest.raises(ConnectionRefused):
        remote.none()


def test_a_tls_handshake_that_is_never_finished_is_ended(serve, lab, monkeypatch):
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.1)
    control = serve(Bench, tls=lab.files)
    with socket.create_connection(("127.0.0.1", control.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_a_peer_that_goes_in_the_middle_of_tls_leaves_nothing(remote):
    before = remote.fds()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", remote._dialler._address[1])) as sock:
            sock.sendall(b"\x16\x03\x01")
    wait_until(lambda: remote.fds() == before)


def test_a_service_restarted_between_two_calls_is_called_again(serve, lab):
    first = serve(Bench, tls=lab.files)
    with RemoteControl(("localhost", first.port), None, 10, tls=lab.trusted) as remote:
        assert remote.count_up() == 1
        first.terminate()
        first.join(10)
        serve(Bench, port=first.port, tls=lab.files)
        assert remote.count_up() == 1


def test_a_server_that_stalls_in_tls_does_not_stretch_the_time_of_a_call(lab):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin = time.monotonic()
        thread = threading.Thread(target=lambda: listener.accept()[0].close() or None)
        with RemoteControl(("localhost", listener.getsockname()[1]), None, 0.3, tls=lab.trusted) as remote:
            with pytest.raises(ConnectionTimeout, match="TLS"):
                remote.none()
            disconnect(remote)
        assert time.monotonic() - begin < 2
        thread.start()
        thread.join(10)


@pytest.mark.parametrize("side", ["server", "client"])
def test_files_that_are_no_certificates_are_named(side, serve, tmp_path):
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(AveException, match="missing") as raised:
        if side == "server":
            serve(Bench, tls=(missing, missing))
        else:
            RemoteControl(("localhost", 4000), tls=missing)
    assert raised.type is ConfigError or "ConfigError" in str(raised.value)


def test_ssl_is_loaded_only_where_it_is_used():
    import subprocess
    import sys

    code = "import sys, ave.network; sys.exit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
