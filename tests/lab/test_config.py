"""The files in `.ave/config`: what is right, what is told of what is wrong, and the routes that follow."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from ave import home as homes
from ave.exceptions import ConfigError
from ave.lab import config
from ave.lab.config import Problem, Routing, bootstrap, check, load
from ave.lab.stores import open_store
from ave.record import KINDS, Query
from tests.lab.stores.samples import record

PANOTTI = {"shout", "exception", "trace", "stderr", "log", "event", "gap", "request", "metric"}


@pytest.fixture
def home(tmp_path) -> str:
    return str(tmp_path)


@pytest.fixture
def write(tmp_path):
    """Write a configuration file and return its path: a dict as JSON, a string as it is."""
    directory = tmp_path / ".ave" / "config"
    directory.mkdir(parents=True)

    def write_one(name: str, content, mode: int = 0o600) -> str:
        path = directory / f"{name}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        path.chmod(mode)
        return str(path)

    return write_one


def routes(home: str) -> dict[str, tuple[set[str], bool]]:
    return {route.url: (set(route.kinds), route.required) for route in Routing.read(home).routes}


# One file


def test_a_file_that_is_not_there_has_all_defaults(home):
    assert load("mysql", home).enabled is True
    assert load("mysql", home).url is None
    assert load("panotti", home).enabled is False
    assert load("panotti", home).spool == {"policy": "host", "quota_bytes": None}
    assert load("logd", home).batch_records == 1000


def test_every_key_of_the_table_is_an_attribute(home):
    for name, keys in config.SETTINGS.items():
        settings = load(name, home)
        assert {key.replace("-", "_") for key in keys} == set(settings.__struct_fields__)


def test_what_a_file_says_goes_before_the_defaults(home, write):
    write("workspace", {"root": "$HOME/w", "wifi-capable": True, "wlan": {"ssid": "lab"}})
    settings = load("workspace", home)
    assert (settings.root, settings.wifi_capable, settings.wlan, settings.tools) == (
        "$HOME/w",
        True,
        {"ssid": "lab"},
        {},
    )


def test_settings_cannot_be_changed(home):
    with pytest.raises(AttributeError):
        load("mysql", home).enabled = False


def test_no_secret_shows_where_settings_and_routes_are_printed(home, write):
    write("mysql", {"url": "mysql://ave:geheim1@db/ave", "password": "geheim2", "user": "ave"})
    write("workspace", {"wlan": {"ssid": "lab", "auth": "geheim3"}})
    printed = f"{load('mysql', home)} {load('workspace', home)!r} {Routing.read(home)}"
    assert "geheim" not in printed
    assert "user='ave'" in printed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "panotti",
            {"port": "80"},
            'panotti attribute in config "port" must be on the form {"port":<integer>}. '
            "current value=80 (type=<class 'str'>); mend the value",
        ),
        (
            "workspace",
            {"root": 1},
            'workspace attribute "root" must be on the form {"root":<string>}. '
            "current value=1 (type=<class 'int'>); mend the value",
        ),
        ("panotti", {"rpc": "soap"}, '"rpc" must be one of http, ave, found "soap"; mend the value'),
        (
            "panotti",
            {"spool": {"policy": "often"}},
            "spool policy must be one of host, class, always, none, found 'often'; mend the value",
        ),
        ("panotti", {"spool": {"polcy": "host"}}, 'unknown key "polcy"; did you mean "policy"?'),
        ("mysql", {"port": "80"}, '"port" must be a whole number, found "80" (str); mend the value'),
        ("mysql", {"port": True}, '"port" must be a whole number, found true (bool); mend the value'),
        ("mysql", {"port": 65536}, '"port" must be from 1 to 65535, found 65536; mend the value'),
        ("mysql", {"enabled": 1}, '"enabled" must be true or false, found 1 (int); mend the value'),
        ("mysql", {"enabled": None}, '"enabled" must be true or false, found null (NoneType); mend the value'),
        ("mysql", {"password": 12345}, '"password" must be a string, found a secret (int); mend the value'),
        ("panotti", {"password": 12345}, '"password" must be a string, found a secret (int); mend the value'),
        ("mysql", {"password": "line\nbreak"}, '"password" has characters that cannot be printed; mend the value'),
        ("panotti", {"url": "http://\ud800/"}, '"url" has characters that cannot be printed; mend the value'),
        ("logd", {"batch_records": 0}, '"batch_records" must be from 1 to 10000, found 0; mend the value'),
        ("mysql", {"pasword": "x"}, 'unknown key "pasword"; did you mean "password"?'),
        (
            "logd",
            {"zzz": 1},
            'unknown key "zzz"; known: batch_records, retry_max_s, logs_quota_bytes, log_rotate_bytes, log_rotate_s',
        ),
        (
            "mysql",
            '{"url": "x",\n "port" 80}',
            "cannot be loaded: Expecting ':' delimiter: line 2 column 9 (char 21); mend it",
        ),
        ("mysql", "", "cannot be loaded: Expecting value: line 1 column 1 (char 0); mend it"),
        ("mysql", "[1]", "must be a JSON object {...}, found list; mend it"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_told_with_file_key_expected_and_found(home, write, name, content, message):
    path = write(name, content)
    with pytest.raises(ConfigError) as caught:
        load(name, home)
    assert str(caught.value) == f"{path}: {message}"
    assert str(next(problem for problem in check(home) if problem.file == path)) == f"{path}: {message}"


def test_null_is_the_same_as_not_there_for_a_key_without_default(home, write):
    write("mysql", {"port": None, "url": None})
    assert load("mysql", home).port is None


def test_bytes_that_are_no_text_and_endless_nesting_are_told(home, write):
    path = write("mysql", "[" * 200_000)
    with pytest.raises(ConfigError, match=rf"^{path}: cannot be loaded: "):
        load("mysql", home)
    with open(path, "wb") as file:
        file.write(b'{"url": "\xff"}')
    with pytest.raises(ConfigError, match=rf"^{path}: cannot be loaded: 'utf-8' codec"):
        load("mysql", home)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_file_that_others_may_touch_is_refused_with_the_command_that_mends_it(home, write, mode):
    path = write("mysql", {}, mode)
    with pytest.raises(ConfigError) as caught:
        load("mysql", home)
    assert str(caught.value) == (
        f"{path}: others than its owner may read or change it (mode {mode:03o}); chmod 600 {path}"
    )
    os.chmod(path, 0o600)
    assert load("mysql", home).enabled


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "fifo"])
def test_what_is_no_file_is_told_and_nobody_waits_for_it(home, write, make):
    path = write("mysql", {})
    os.unlink(path)
    make(path)
    with pytest.raises(ConfigError, match=rf"^{path}: is not a file; move it away$"):
        load("mysql", home)


def test_a_file_where_the_directory_should_be_is_told(home, tmp_path):
    (tmp_path / ".ave").write_text("")
    with pytest.raises(ConfigError, match=r"mysql\.json: cannot be read: Not a directory; see who owns it"):
        load("mysql", home)
    assert {problem.what for problem in check(home)} == {"is missing", "cannot be read: Not a directory"}


# Routes


def embedded(home: str) -> str:
    return f"sqlite://{home}/.ave/lab.db"


def test_without_any_file_shouts_go_nowhere_and_the_rest_into_the_embedded_store(home):
    assert routes(home) == {embedded(home): ({"verdict", "measurement", "artifact"}, True)}
    assert Routing.read(home).unrouted == PANOTTI
    assert Routing.read(home).of("shout") == ()


def test_after_bootstrap_all_kinds_go_into_one_store(home):
    bootstrap(home)
    (route,) = Routing.read(home).routes
    assert route.name == "embedded"
    assert route.url == embedded(home)
    assert route.kinds == KINDS
    assert route.required
    assert route.files == ("panotti", "decibel", "mysql", "workspace")
    assert Routing.read(home).of("verdict") == (route,)
    assert Routing.read(home).unrouted == set()


def test_a_disabled_file_routes_nothing(home, write):
    write("panotti", {"enabled": False, "url": "sqlite:///~/a.db"})
    write("decibel", {"enabled": False})
    assert Routing.read(home).unrouted == PANOTTI | {"verdict"}


def test_an_empty_panotti_file_is_disabled_as_it_always_was(home, write):
    write("panotti", {})
    assert Routing.read(home).unrouted == PANOTTI


def test_one_route_per_store_however_its_url_is_written(home, write):
    write("panotti", {"enabled": True, "url": "sqlite:///~/.ave/lab.db"})
    write("decibel", {"url": f"sqlite:///{home}/.ave/lab.db"})
    write("mysql", {"url": "sqlite:///~/figures.db", "required": False})
    assert routes(home) == {
        embedded(home): (KINDS - {"measurement"}, True),
        f"sqlite://{home}/figures.db": ({"measurement"}, False),
    }


def test_a_store_is_required_if_one_of_its_files_says_so(home, write):
    write("panotti", {"enabled": True, "url": "sqlite:///~/other.db", "required": False})
    write("decibel", {"url": "sqlite:///~/other.db"})
    assert routes(home)[f"sqlite://{home}/other.db"] == (PANOTTI | {"verdict"}, True)


def test_elasticsearch_and_logstash_take_everything_besides(home, write):
    write("panotti", {"enabled": True})
    write("elasticsearch", {"host": "search", "port": 9200})
    write("logstash", {"host": "pipe", "required": True})
    assert routes(home) == {
        embedded(home): (KINDS - {"request", "metric"}, True),
        "elasticsearch://search:9200": (KINDS, True),
        "logstash://pipe": (KINDS, False),
    }
    assert [route.name for route in Routing.read(home).of("metric")] == [
        route.name for route in Routing.read(home).routes if route.name != "embedded"
    ]


@pytest.mark.parametrize(
    ("name", "url", "routed"),
    [
        ("elasticsearch", "https://search:9200/lab", "elasticsearch+https://search:9200/lab"),
        ("logstash", "http://pipe:8080", "logstash+http://pipe:8080"),
    ],
)
def test_the_url_of_the_servers_own_documentation_will_do(home, write, name, url, routed):
    write("panotti", {"enabled": True})
    write(name, {"url": url})
    assert routes(home)[routed] == (KINDS, True)


def test_an_api_key_stands_where_a_password_stands_and_no_name_shows_it(home, write):
    write("elasticsearch", {"host": "search", "api_key": "aWQ6a2V5/=="})
    (route,) = [route for route in Routing.read(home).routes if "elasticsearch" in route.files]
    assert route.url == "elasticsearch://:aWQ6a2V5%2F%3D%3D@search"
    assert "aWQ6" not in repr(route) + route.name


def test_a_store_that_acknowledges_nothing_may_not_be_the_only_one_of_a_kind(home, write):
    write("panotti", {"enabled": False})
    write("workspace", {"root": "~"})
    path = write("logstash", {"host": "pipe"})
    with pytest.raises(ConfigError) as caught:
        Routing.read(home)
    assert str(caught.value) == (
        f"{path}: is the only store of event exception gap log metric request shout stderr trace, though it "
        "acknowledges nothing; enable the files of other stores, or use the HTTP input: logstash+http://host:port"
    )
    assert [str(problem) for problem in check(home)][-1] == str(caught.value)
    write("logstash", {"url": "logstash+http://pipe"})
    assert routes(home)["logstash+http://pipe"] == (KINDS, True)


@pytest.mark.parametrize("content", [{}, {"enabled": False, "host": "search"}])
def test_elasticsearch_without_a_place_or_disabled_takes_nothing(home, write, content):
    write("panotti", {"enabled": True})
    write("elasticsearch", content)
    assert routes(home) == {embedded(home): (set(KINDS), True)}


@pytest.mark.parametrize(
    ("name", "content", "url"),
    [
        ("panotti", {"host": "lab-db", "port": 5984, "db": "panotti"}, "couchdb://lab-db:5984/panotti"),
        ("panotti", {"host": "lab-db", "rpc": "ave", "port": 4001, "db": "x"}, "ave://lab-db:4001/x"),
        ("panotti", {"host": "lab-db", "user": "a@b", "password": "p/w:"}, "couchdb://a%40b:p%2Fw%3A@lab-db"),
        ("panotti", {"url": "http://lab-db:5984/p", "user": "ave"}, "http://ave@lab-db:5984/p"),
        ("panotti", {"url": "http://me:pw@lab-db/p", "user": "ave"}, "http://me:pw@lab-db/p"),
        ("mysql", {"host": "::1", "db": "a/b"}, "mysql://[::1]/a%2Fb"),
        ("decibel", {"host": "10.0.0.7", "port": 80}, "decibel://10.0.0.7:80"),
    ],
    ids=str,
)
def test_the_original_keys_make_a_url(home, write, name, content, url):
    write(name, {"enabled": True, **content})
    assert url in routes(home)


@pytest.mark.parametrize(
    ("name", "content", "key", "message"),
    [
        ("panotti", {"enabled": True, "port": 5984}, "port", '"port" is there, but neither "url" nor "host"; add one'),
        (
            "panotti",
            {"enabled": True, "host": "<UPDATE>"},
            "host",
            '"host" must be a name or an address, found "<UPDATE>"; mend the value',
        ),
        (
            "mysql",
            {"url": "sqlite:lab.db"},
            "url",
            '"sqlite:lab.db" must be sqlite:/// and the absolute path of a file; mend "url"',
        ),
    ],
    ids=str,
)
def test_a_place_that_is_none_is_told(home, write, name, content, key, message):
    write("workspace", {"root": "~"})
    write("panotti", {})
    path = write(name, content)
    with pytest.raises(ConfigError) as caught:
        Routing.read(home)
    assert str(caught.value) == f"{path}: {message}"
    (problem,) = check(home)
    assert (problem.file, problem.key, str(problem)) == (path, key, f"{path}: {message}")


TLS = "the certificates in /nosuch.pem cannot be used: [Errno 2] No such file or directory"


@pytest.mark.parametrize(
    ("name", "content", "what", "keys"),
    [
        ("panotti", {"url": "couchdb://h/p?foo=1"}, 'unknown option "foo"; known: insecure, tls', ["url"]),
        ("panotti", {"url": "couchdb://h/p?insecure=yes"}, "insecure must be true or false", ["url"]),
        ("panotti", {"host": "h", "db": "Pano tti"}, '"Pano tti" cannot be the name of a database', ["host", "db"]),
        ("panotti", {"host": "h:x"}, "couchdb://...: it must be couchdb://[user:password@]host", ["host"]),
        ("panotti", {"url": "http://lab:5984/p"}, "did you mean couchdb://host?", ["url"]),
        ("panotti", {"url": "couch://lab:5984/p"}, "did you mean couchdb://host?", ["url"]),
        ("mysql", {"url": "MariaDB://h"}, "did you mean mariadb://host?", ["url"]),
        ("mysql", {"url": "mysql://h:abc/ave"}, "the port must be a number", ["url"]),
        ("mysql", {"url": "mysql://ave:p@[::1/ave"}, "it must be mysql://[user:password@]host", ["url"]),
        ("mysql", {"url": "mysql://127.0.0.1/ave?tls=/nosuch.pem"}, TLS, ["url"]),
        ("mysql", {"host": "h", "port": 1, "tls": "/nosuch.pem"}, TLS, ["host", "port", "tls"]),
        ("mysql", {"url": "tape:3", "user": "me"}, "nothing says where a user or an api_key belongs", ["url"]),
        ("elasticsearch", {"url": "http://127.0.0.1:9200?repliacs=0"}, "with none but the options", ["url"]),
        ("elasticsearch", {"url": "http://127.0.0.1?replicas=many"}, 'replicas must be from 0 to 9', ["url"]),
        ("elasticsearch", {"url": "http://127.0.0.1/Ave Two"}, "the prefix must be of small letters", ["url"]),
        ("elasticsearch", {"url": "http://search-1:9200"}, "in clear text to another machine; use https", ["url"]),
        ("elasticsearch", {"url": "https://h", "tls": "/nosuch.pem"}, TLS, ["url", "tls"]),
        ("elasticsearch", {"url": "https://h", "tls": "/etc/passwd"}, "in /etc/passwd cannot be used", ["url", "tls"]),
        ("elasticsearch", {"host": "h", "api_key": "ü"}, "characters that none has", ["host", "api_key"]),
        ("logstash", {"url": "http://elk:8080"}, "in clear text to another machine; use https", ["url"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_the_file_alone_proves_wrong_is_told_with_keys_and_reaching_nobody(home, write, name, content, what, keys):
    bootstrap(home)
    path = write(name, {"enabled": True, **content})
    [problem] = check(home)
    assert (problem.file, problem.key) == (path, keys[0])
    assert what in problem.what
    assert problem.cure.removesuffix(', or give "url" instead') == "mend " + " or ".join(f'"{key}"' for key in keys)


def test_what_is_wrong_with_one_file_hides_nothing_of_another_that_names_the_same_store(home, write):
    bootstrap(home)
    paths = [
        write("panotti", {"enabled": True, "url": "couchdb://127.0.0.1/p"}),
        write("decibel", {"url": "couchdb://127.0.0.1/p?foo=1"}),
        write("mysql", {"url": "mysql://127.0.0.1:0/p"}),
        write("logstash", {"url": "logstash://127.0.0.1?bar=1"}),
    ]
    assert [problem.file for problem in check(home)] == paths[1:]


def test_a_url_of_a_server_that_is_away_is_right(home, write):
    bootstrap(home)
    write("panotti", {"enabled": True, "host": "127.0.0.1", "port": 1, "rpc": "ave", "db": "p"})
    write("decibel", {"url": "couchdb://me:secret@127.0.0.1:1/p?tls=system"})
    write("mysql", {"url": "mysql://nosuch.example/p", "user": "me", "password": "secret"})
    write("elasticsearch", {"url": "http://127.0.0.1:1/p?replicas=0&template=keep"})
    write("logstash", {"url": "https://nosuch.example:1/p"})
    assert check(home) == []


def test_a_file_needs_no_login_though_there_is_one(home, write):
    bootstrap(home)
    write("mysql", {"url": "sqlite:///~/x.db", "user": "me", "password": "geheim", "tls": "/nosuch.pem"})
    assert check(home) == []
    assert f"sqlite://{home}/x.db" in routes(home)


def test_the_default_file_of_the_original_is_no_problem_while_it_is_disabled(home, write):
    write("panotti", {"enabled": False, "host": "<UPDATE>", "port": 5984, "db": "panotti"})
    assert "shout" in Routing.read(home).unrouted


def test_a_store_that_nothing_speaks_to_yet_routes_but_does_not_open(home, write):
    write("workspace", {"root": "~"})
    path = write("decibel", {"host": "lab-db"})
    write("panotti", {"enabled": True})
    (route,) = Routing.read(home).of("verdict")
    with pytest.raises(ConfigError, match=r'^stores of scheme "decibel" need another version') as caught:
        open_store(route.url, home, route.kinds)
    (problem,) = check(home)
    assert problem == Problem(path, "host", str(caught.value), 'mend "host", or give "url" instead')


def test_a_name_is_for_ever_fit_for_a_file_and_does_not_depend_on_who_logs_in(home, write):
    def name(**content) -> str:
        write("mysql", content)
        return Routing.read(home).of("measurement")[0].name

    plain = name(host="lab-db", port=3306, db="figures")
    assert plain == "mysql-lab-db-3306-figures-97dc0917"
    assert name(host="lab-db", port=3306, db="figures", user="a", password="b") == plain
    assert name(host="lab-db", port=3306, db="Figures") != plain
    assert name(url="mysql://lab-db:3306/figures?insecure=true") == plain
    assert name(url="tape://robot/3?tls=system&password=geheim") == name(url="tape://me:geheim@robot/3")
    assert name(url="tape://robot?drive=3") != name(url="tape://robot?drive=4")
    assert name(url="tape:3") != name(url="tape:4")
    odd = name(url="tape://../..//x?y=é&" + "z" * 500)
    assert re.fullmatch(r"[A-Za-z0-9-]{1,80}", odd)


def test_what_is_to_be_made_in_a_cluster_makes_it_no_other_store(home, write):
    def name(url) -> str:
        write("elasticsearch", {"url": url})
        [one] = {route.name for route in Routing.read(home).of("metric")}
        return one

    plain = name("elasticsearch://lab-search/ave")
    for options in ("?replicas=0", "?locust=l&tls=system&template=keep", "?insecure=true&replicas=2"):
        assert name(f"elasticsearch://lab-search/ave{options}") == plain
    assert name("elasticsearch://lab-search/ave-two") != plain


# Bootstrap and check


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_bootstrap_writes_files_that_only_the_owner_can_read_and_that_work(home, umask):
    before = os.umask(umask)
    try:
        written = bootstrap(home)
    finally:
        os.umask(before)
    assert [os.path.basename(path) for path in written] == [
        "panotti.json",
        "workspace.json",
        "decibel.json",
        "mysql.json",
        "logd.json",
    ]
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in written} == {0o600}
    for directory in (".ave", ".ave/config"):
        assert stat.S_IMODE(os.stat(os.path.join(home, directory)).st_mode) == 0o700
    assert sorted(os.listdir(os.path.dirname(written[0]))) == sorted(os.path.basename(path) for path in written)
    assert check(home) == []


def test_a_shout_finds_its_way_after_bootstrap(home):
    bootstrap(home)
    assert homes.load("panotti", home)["enabled"] is True
    (route,) = Routing.read(home).of("shout")
    store = open_store(route.url, home, route.kinds)
    assert store.put([record(1)]) == []
    assert [found.id for found in store.find(Query())] == [record(1).id]
    store.close()
    assert os.path.isfile(os.path.join(home, ".ave", "lab.db"))


def test_bootstrap_twice_writes_nothing_the_second_time(home):
    written = bootstrap(home)
    before = {path: (os.stat(path).st_mtime_ns, os.stat(path).st_ino) for path in written}
    assert bootstrap(home) == []
    assert {path: (os.stat(path).st_mtime_ns, os.stat(path).st_ino) for path in written} == before


def test_bootstrap_leaves_what_is_there_and_adds_the_rest(home, write):
    path = write("panotti", '{"enabled": fals', mode=0o644)
    assert path not in bootstrap(home)
    assert Path(path).read_text() == '{"enabled": fals'
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert load("workspace", home).root == "$HOME/workspaces"


def test_bootstrap_where_nothing_can_be_written_is_told(home, tmp_path):
    (tmp_path / ".ave").write_text("")
    with pytest.raises(ConfigError) as caught:
        bootstrap(home)
    path = homes.config_file("panotti", home)
    assert str(caught.value) == f"{path}: cannot be written: File exists; make {home} writable"


def test_check_tells_what_is_missing_and_how_to_get_it(home):
    cure = "`ave config --bootstrap` writes one"
    assert check(home) == [
        Problem(homes.config_file("panotti", home), "", "is missing", cure),
        Problem(homes.config_file("workspace", home), "", "is missing", cure),
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("couchdb", "panotti"), ("mariadb", "mysql"), ("opensearch", "elasticsearch"), ("logstsh", "logstash")],
)
def test_check_tells_a_file_that_is_called_by_another_name(home, write, name, meant):
    bootstrap(home)
    write(name, {"enabled": True})
    write("broker", {"port": 4000})  # of a neighbour
    [problem] = check(home)
    assert str(problem).endswith(f"{name}.json: is read by nobody; call it {meant}.json")


def test_check_tells_every_problem_of_every_file_at_once(home, write):
    write("panotti", {"enabled": "yes", "prot": 1})
    write("workspace", {"root": 1})
    write("mysql", {"port": 0}, mode=0o644)
    assert [(os.path.basename(problem.file), problem.key) for problem in check(home)] == [
        ("mysql.json", ""),
        ("panotti.json", "enabled"),
        ("panotti.json", "prot"),
        ("workspace.json", "root"),
    ]
