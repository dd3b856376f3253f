"""Which store a URL means."""

from __future__ import annotations

import json
import sys

import pytest

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab import config
from ave.lab.config import Problem
from ave.lab.stores import STORES, open_store, resolved
from ave.lab.stores.embedded import EmbeddedStore


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///$HOME/.ave/lab.db",
        "sqlite:///~/.ave/lab.db",
        "sqlite://$HOME/.ave/lab.db",
        "sqlite:///home/lab/.ave/lab.db",
        "sqlite:////home/lab/.ave/lab.db",
    ],
)
def test_all_ways_to_write_the_same_file_are_the_same_url(url):
    assert resolved(url, "/home/lab") == "sqlite:///home/lab/.ave/lab.db"
    assert resolved(resolved(url, "/home/lab"), "/home/lab") == resolved(url, "/home/lab")


def test_other_urls_stay_as_they_are():
    assert resolved("http://lab/~ave/$HOME", "/home/lab") == "http://lab/~ave/$HOME"


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:lab.db", "sqlite://lab.db", "sqlite:///", "sqlite:///~"])
def test_a_file_without_an_absolute_path_is_refused(url):
    with pytest.raises(ConfigError) as caught:
        open_store(url, "/home/lab", ())
    assert str(caught.value) == f'"{url}" must be sqlite:/// and the absolute path of a file'


def test_an_embedded_store_takes_the_kinds_it_is_told(tmp_path):
    store = open_store("sqlite:///~/lab.db", str(tmp_path), {"verdict"})
    assert isinstance(store, EmbeddedStore)
    assert store.path == f"{tmp_path}/lab.db"
    assert store.kinds == {"verdict"}
    assert list(tmp_path.iterdir()) == [], "nothing is opened yet"


TAPES = """
class TapeStore:
    def __init__(self, url, kinds, *, readonly=False):
        self.made_of = (url, kinds, readonly)

    def close(self):
        pass
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that brings a store; its module's path."""
    (tmp_path / "tapes.py").write_text(TAPES)
    metadata = tmp_path / "tapes-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tapes\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[ave.stores]\ntape = tapes:TapeStore\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "tapes.py"
    sys.modules.pop("tapes", None)


def test_a_package_can_bring_a_store(package):
    store = open_store("tape://robot/3", "/home/lab", {"log"}, readonly=True)
    assert store.made_of == ("tape://robot/3", {"log"}, True)


def test_an_unknown_scheme_is_refused_with_those_that_are_known(package):
    with pytest.raises(ConfigError) as caught:
        open_store("floppy://user:secret@lab-db:5984/panotti", "/home/lab", ())
    known = ", ".join(sorted([*STORES, "tape"]))
    assert str(caught.value) == (
        f'stores of scheme "floppy" need another version or a package that brings them; known: {known}'
    )


@pytest.fixture
def mysql_json(tmp_path):
    """A function that writes `mysql.json` of a home that is right otherwise, and returns its path and the home."""
    home = str(tmp_path / "home")
    config.bootstrap(home)
    path = homes.config_file("mysql", home)

    def write(**settings):
        with open(path, "w") as file:
            json.dump(settings, file)
        return path, home

    return write


@pytest.mark.parametrize("url", ["tape:robot/3", "tape:3#4", "tape://robot/3?drive=1"])
def test_the_urls_of_a_packages_store_may_have_another_form(package, mysql_json, url):
    _, home = mysql_json(url=url)
    assert config.check(home) == []
    assert [route.url for route in config.Routing.read(home).of("measurement")] == [url]


def test_a_package_that_cannot_be_loaded_is_named(package, mysql_json):
    package.write_text("import nothing_of_that_name")
    path, home = mysql_json(url="tape://robot/3")
    what = (
        'the package tapes brings stores of scheme "tape", but tapes:TapeStore cannot be loaded: ModuleNotFoundError: '
        "No module named 'nothing_of_that_name'; mend or remove that package"
    )
    assert config.check(home) == [Problem(path, "url", what, 'mend "url"')]


def test_a_packages_store_that_cannot_be_made_is_told_without_the_password(package, mysql_json):
    package.write_text(TAPES.replace("self.made_of =", "raise ValueError(url) #"))
    path, home = mysql_json(url="tape://robot/3", user="me", password="hunter2geheim")
    [problem] = config.check(home)
    assert (problem.file, problem.key) == (path, "url")
    assert problem.what.startswith('a store of scheme "tape" cannot be opened: ValueError: tape://')
    assert problem.what.endswith("@robot/3; see what brings it")
    assert "geheim" not in str(problem)


def test_a_packages_store_that_asks_its_server_at_once_is_not_wrong_while_that_is_away(package, mysql_json):
    package.write_text(
        TAPES.replace("self.made_of =", "from ave.exceptions import StoreUnavailable; raise StoreUnavailable('away') #")
    )
    _, home = mysql_json(url="tape://robot/3")
    assert config.check(home) == []
    with pytest.raises(StoreUnavailable, match="away"):
        open_store("tape://robot/3", home, ())
