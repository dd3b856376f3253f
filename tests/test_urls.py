"""A server's URL is read in one way, and whatever is wrong with it, no password is told."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

import pytest

from ave import home as homes
from ave import urls
from ave.exceptions import AveException, ConfigError
from ave.lab.cli.doctor import examine
from ave.lab.config import Routing, check, load
from ave.lab.stores import STORES, open_store
from ave.record import KINDS
from ave.report import oursql

#: Where nobody listens.
PORT = 1

CURE = "write / # ? @ of a user or password as %2F %23 %3F %40"

SERVERS = [scheme for scheme in STORES if not scheme.startswith("sqlite")]

#: A password around each letter that means something in a URL, or has to be written another way.
PASSWORDS = [
    f"1234{letter}geheim" for letter in ("/", "#", "?", "@", ":", "%", " ", "/@", "?@", "[", "]", ",", "ü", "℀")
]
PASSWORDS += [f"geheim{letter}1234" for letter in ("/", "#", "?", "@", "[", "&a=", "//")]
PASSWORDS += ["/geheim", "geheim/", "?tls=geheim", "12/geheim:34"]

#: A login in what is no URL, for `://` is missing or mistyped, or in one where no login belongs.
MISTYPED = [
    "{}:/ave:geheim@127.0.0.1/ave",
    "{}:ave:geheim@127.0.0.1/ave",
    "{}:\\\\ave:geheim@127.0.0.1/ave",
    "{}//ave:geheim@127.0.0.1/ave",
    "{}:///ave:geheim@127.0.0.1/ave",
    "{}://ave:geheim/127.0.0.1/ave",
    "{}://127.0.0.1/ave?password=geheim",
    "{}://127.0.0.1/ave?user=ave&pass%77ord=geheim&x=1",
]

#: The file that such a URL may stand in.
FILES = {"ave": "panotti", "couchdb": "panotti", "mysql": "mysql", "mariadb": "mysql"}


def told(doing):
    """What a ConfigError, or another of ours, says; nothing if there is none; any other error is one of the test."""
    try:
        doing()
    except AveException as error:
        return f"{error} {error.details}"
    return ""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    homes.forget()
    yield tmp_path
    homes.forget()


@pytest.fixture
def write(home):
    def write(name, **settings):
        path = home / ".ave" / "config" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
        path.chmod(0o600)
        homes.forget()

    return write


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", SERVERS)
def test_no_store_tells_a_password_that_is_written_as_it_is(scheme, password, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    url = f"{scheme}://ave:{password}@127.0.0.1:{PORT}/db"
    said = told(lambda: open_store(url, str(tmp_path), KINDS, readonly=True).probe())
    assert "geheim" not in said + caplog.text + "".join(capfd.readouterr())
    assert said.startswith(f"{scheme}://...: ") or "127.0.0.1" in said


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["couchdb", "mysql", "opensearch", "logstash+http"])
def test_no_file_tells_a_password_that_is_written_as_it_is(scheme, password, home, write, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    write("workspace", root="~")
    name = FILES.get(scheme, "logstash" if "logstash" in scheme else "elasticsearch")
    url = f"{scheme}://ave:{password}@127.0.0.1:{PORT}/db"
    write(name, enabled=True, url=url, user="me", password="geheim too")
    said = [told(lambda: Routing.read(str(home))), repr(load(name, str(home))), *map(str, check(str(home)))]
    said += [str(finding) for finding in examine(str(home))]
    if not "".join(said[:1]):
        said += [f"{route!r} {route.name}" for route in Routing.read(str(home)).routes]
    if name == "mysql":
        said.append(told(lambda: oursql.connect(str(home))))
    assert "geheim" not in "".join(said) + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("form", [*MISTYPED, "ave:geheim@127.0.0.1/ave", "lab:geheim@127.0.0.1/ave", "ave:geheim"])
@pytest.mark.parametrize("scheme", ["couchdb", "mysql", "MySQL", "http", "msyql"])
@pytest.mark.parametrize("name", ["panotti", "mysql", "elasticsearch"])
def test_a_mistyped_url_is_refused_and_its_password_is_in_no_name(name, scheme, form, home, write):
    write("panotti", enabled=True)
    write("workspace", root="~")
    write(name, enabled=True, url=form.format(scheme))
    problems = check(str(home))
    assert [problem.file for problem in problems] == [homes.config_file(name, str(home))]
    said = [*map(str, problems), repr(load(name, str(home)))]
    try:
        said += [route.name for route in Routing.read(str(home)).routes]
    except ConfigError as error:
        said.append(str(error))
    assert "geheim" not in "".join(said)


@pytest.mark.parametrize("password", ["1234/geheim", "1234#geheim", "1234?geheim", "1234@ge/heim", "geheim/"])
@pytest.mark.parametrize("name", ["panotti", "mysql", "elasticsearch", "logstash"])
def test_a_file_with_such_a_password_is_told_with_the_cure(name, password, home, write):
    write("workspace", root="~")
    write(name, enabled=True, url=f"mysql://ave:{password}@127.0.0.1/db")
    with pytest.raises(ConfigError) as caught:
        Routing.read(str(home))
    path = homes.config_file(name, str(home))
    assert str(caught.value).startswith(f"{path}: mysql://...: ")
    assert CURE in str(caught.value)
    if name == "mysql":
        with pytest.raises(ConfigError) as caught:
            oursql.connect(str(home))
        assert str(caught.value).startswith(f"{path}: mysql://...: ")
        assert CURE in str(caught.value)


@pytest.mark.parametrize(
    "content", [{"url": ["mysql://ave:geheim@db"]}, {"host": "ave:ge/heim@db:1"}, {"url": "geheim@db"}]
)
@pytest.mark.parametrize("name", ["panotti", "mysql", "elasticsearch"])
def test_what_is_no_url_or_no_host_is_not_told_with_a_password_either(name, content, home, write):
    write("workspace", root="~")
    write(name, enabled=True, **content)
    said = "".join(map(str, check(str(home))))
    if name == "mysql":
        said += told(lambda: oursql.connect(str(home)))
    assert f"{name}.json" in said
    assert "heim" not in said


@pytest.mark.parametrize("secret", PASSWORDS)
def test_quoted_every_password_is_read_as_it_is(secret):
    said = urls.read(
        f"mysql://{quote(secret, safe='')}:{quote(secret, safe='')}@lab-db:3307/a%2Fb/?tls=%40x&insecure=true"
    )
    assert (said.user, said.password, said.hosts) == (secret, secret, (("lab-db", 3307),))
    assert (said.path, said.options) == ("a/b", {"tls": "@x", "insecure": "true"})


@pytest.mark.parametrize(
    ("url", "login", "hosts"),
    [
        ("x://lab-db", (None, None), (("lab-db", None),)),
        ("x://Lab_DB.:/", (None, None), (("lab_db.", None),)),
        ("x://me@[2001:DB8::1]:1", ("me", None), (("2001:db8::1", 1),)),
        (
            "x://me:a:b@c@lab-db,[::1],[fe80::1%eth0]:65535",
            ("me", "a:b@c"),
            (("lab-db", None), ("::1", None), ("fe80::1%eth0", 65535)),
        ),
        ("x://:key@übung.example", ("", "key"), (("übung.example", None),)),
    ],
)
def test_what_a_url_says_is_read(url, login, hosts):
    said = urls.read(url)
    assert ((said.user, said.password), said.hosts) == (login, hosts)


@pytest.mark.parametrize(
    "url",
    ["", "lab-db", "x:lab-db", "://lab-db", "x://", "x:///db", "x://a b", "x://a..b", f"x://{'a' * 64}", "x://[::1", "x://[lab]",
     "x://a:0", "x://a:65536", "x://a:-1", "x://a:²", "x://a,,b", "x://a?b", "x://a#b", "x://a/@", "x://a?b=@"],
)  # fmt: skip
def test_what_is_no_url_is_told(url):
    with pytest.raises(ConfigError, match=r"^x://\.\.\.: |^a url must be "):
        urls.read(url)
