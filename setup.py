"""Package metadata. The job side needs nothing but Python; everything else is an extra."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

LAB = [
    "click>=8.1.8",
    "CouchDB>=1.2",
    "msgspec>=0.19",
    "pymysql[rsa]>=1.2",
    "python-daemon>=3.1",
    "requests>=2.32",
    "urllib3>=2.2",
    "rich>=13.9",
    "SQLAlchemy>=2.0.36",
]
PYTEST = ["pytest>=8.3"]
LOCUST = ["locust>=2.32"]
# mypy and ruff judge differently from version to version, so lint means one version of each
DEV = [
    *PYTEST,
    "hypothesis>=6.115",
    "import-linter>=2.3,<3",
    "junitparser>=3.2",
    "mypy==2.4.1",
    "Pyro5>=5.15",  # a peer, for tests/bench
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "python-logstash-async>=3.0",  # a peer, for tests/bench
    "rpyc>=6.0",  # a peer, for tests/bench
    "ruff==0.17.6",
    "sentry-sdk>=2.18",  # a peer, for tests/bench
    "sphinx>=8.1",
    "sphinx-click>=6.0",
    "trustme>=1.2",
    "types-PyMySQL",
    "types-requests",
]


def version() -> str:
    """Read the version without importing the package."""
    text = (HERE / "ave" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("ave/__init__.py has no __version__")
    return found[1]


setup(
    name="ave-logging",
    version=version(),
    description="One GUID per test run: everything that happens for it is kept, found and shown together",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["ave", "ave.*", "vcsjob", "vcsjob.*"]),
    package_data={"ave": ["py.typed"], "vcsjob": ["py.typed"]},
    install_requires=[],
    extras_require={
        "lab": LAB,
        "mysql": ["pymysql[rsa]>=1.2"],
        "pytest": PYTEST,
        "locust": LOCUST,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [
            "ave = ave.lab.cli:main",
            "ave-logd = ave.lab.logd:main",
            "vcsjob = vcsjob.cli:main",
        ],
    },
    zip_safe=False,
)
