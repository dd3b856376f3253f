"""Which store a URL means."""

from __future__ import annotations

import sys

import pytest

from ave.exceptions import ConfigError
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


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that brings a store."""
    (tmp_path / "tapes.py").write_text(
        "class TapeStore:\n"
        "    def __init__(self, url, kinds, *, readonly=False):\n"
        "        self.made_of = (url, kinds, readonly)\n"
    )
    metadata = tmp_path / "tapes-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tapes\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[ave.stores]\ntape = tapes:TapeStore\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
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
