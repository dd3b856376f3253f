"""S14: a server whose certificate has expired, or names another, is refused, and hears nothing of ours."""

from __future__ import annotations

import http.server
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from ave.exceptions import ConfigError
from ave.lab.stores import open_store
from ave.record import KINDS
from ave.testing import wait_until
from tests.lab.stores.fake_elasticsearch import Fake
from tests.lab.stores.samples import record
from tests.system import servers_mariadb
from tests.system.sink import Sink


class Certificates:
    """What a server of the lab may show, and the path of what its clients trust."""

    def __init__(self, directory):
        self._authority = trustme.CA()
        self.trusted = str(directory / "ca.pem")
        self._authority.cert_pem.write_to_path(self.trusted)
        past = datetime.now(UTC) - timedelta(minutes=1)
        self.good = self._authority.issue_cert("127.0.0.1")
        self.expired = self._authority.issue_cert("127.0.0.1", not_before=past - timedelta(days=9), not_after=past)
        self.wrong = self._authority.issue_cert("other.example")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def context(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    return made


@pytest.fixture(scope="module")
def mariadb(certificates, tmp_path_factory):
    """Let MariaDB itself speak TLS: what it shows is in files, which it can be told to read again."""
    key, chain = (tmp_path_factory.mktemp("mariadb") / name for name in ("key.pem", "chain.pem"))
    server = None

    @contextmanager
    def showing(certificate):
        nonlocal server
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(str(key))
        if server is None:
            server = servers_mariadb.start(f"--ssl-key={key}", f"--ssl-cert={chain}")
        server.execute("FLUSH SSL")
        yield servers_mariadb.url(server), lambda: server.execute("SELECT COUNT(*) FROM ave.ave_records")[0][0]

    yield showing
    if server is not None:
        server.remove()


@contextmanager
def elasticsearch(certificate):
    with Fake(context=context(certificate)) as server:
        yield from served(server, f"elasticsearch://lab:secret@127.0.0.1:{server.port}", server.requests)


@contextmanager
def logstash(certificate):
    with Sink(context(certificate)) as sink:
        yield f"logstash://127.0.0.1:{sink.port}", lambda: len(sink.events)


class Input(http.server.BaseHTTPRequestHandler):
    """Logstash's HTTP input."""

    def do_POST(self):
        self.server.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args):
        pass


class Inputs(http.server.ThreadingHTTPServer):
    def handle_error(self, *_args):
        pass  # a client that went away, as it should


@contextmanager
def logstash_http(certificate):
    with Inputs(("127.0.0.1", 0), Input) as server:
        server.taken = []
        server.socket = context(certificate).wrap_socket(server.socket, server_side=True)
        yield from served(server, f"logstash+https://lab:secret@127.0.0.1:{server.server_port}", server.taken)


def served(server, url, heard):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url, lambda: len(heard)
    server.shutdown()


@pytest.fixture(params=["mariadb", elasticsearch, logstash, logstash_http], ids=lambda it: getattr(it, "__name__", it))
def showing(request):
    return request.getfixturevalue(request.param) if isinstance(request.param, str) else request.param


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ("expired", "certificate has expired"),
        ("wrong", "certificate is not valid for '127.0.0.1'"),
    ],
)
def test_s14_a_server_that_does_not_prove_its_name_is_refused_and_hears_nothing(showing, certificates, shown, why):
    with showing(certificates.good) as (url, heard):
        store = open_store(f"{url}?tls={certificates.trusted}", "/nowhere", KINDS)
        assert store.put([record(1)]) == []
        store.close()
        wait_until(heard)
    with showing(getattr(certificates, shown)) as (url, heard):
        before = heard()
        store = open_store(f"{url}?tls={certificates.trusted}", "/nowhere", KINDS)
        with pytest.raises(ConfigError) as told:
            store.put([record(2)])
        store.close()
        assert why in str(told.value)
        assert "certificate, or give tls= with those to trust" in str(told.value)
        assert "secret" not in str(told.value)
        assert heard() == before
