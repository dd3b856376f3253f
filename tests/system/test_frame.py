"""The package as a whole: what it needs, what its import costs, and that it can be built and installed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ave

ROOT = Path(__file__).parents[2]
JOB_SIDE = [
    path.relative_to(ROOT)
    for package in ("ave", "vcsjob")
    for path in sorted((ROOT / package).rglob("*.py"))
    if not path.is_relative_to(ROOT / "ave" / "lab") and path.name != "testing.py"
]
OURS = {"ave", "vcsjob"}

#: What a module may import besides, inside the function that needs it.
EXTRAS = {Path("ave/report/oursql.py"): {"pymysql"}}

#: What a job must not pay for: slow to import, or a thread or a lock of somebody else's.
TOO_DEAR = {
    "asyncio",
    "contextlib",
    "dataclasses",
    "inspect",
    "logging",
    "pathlib",
    "socket",
    "subprocess",
    "threading",
    "typing",
}


def imports(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports anywhere, type checking included."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", JOB_SIDE, ids=str)
def test_the_job_side_imports_the_standard_library_alone(path):
    assert imports(path) <= set(sys.stdlib_module_names) | OURS | EXTRAS.get(path, set())


@pytest.mark.parametrize("networked", [False, True])
def test_importing_the_job_side_loads_nothing_dear(networked):
    modules = [str(path.with_suffix("")).replace("/", ".").removesuffix(".__init__") for path in JOB_SIDE]
    modules = [name for name in modules if not name.endswith("__main__")]
    if not networked:
        modules = [name for name in modules if not name.startswith("ave.network")]
    code = f"import sys; before = set(sys.modules); import {', '.join(modules)}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ave.spool" in loaded.stdout.split()
    # who calls other processes wants a socket
    assert not (TOO_DEAR - {"socket"} if networked else TOO_DEAR) & set(loaded.stdout.split())


@pytest.mark.parametrize("path", JOB_SIDE, ids=str)
def test_no_pattern_has_a_possessive_or_atomic_group(path):
    # Python before 3.11.5, which Debian 12 has not, matches them wrongly: https://github.com/python/cpython/issues/106052
    assert not re.search(r"\)(?:[*+?]|\{[\d,]+\})\+|\(\?>", (ROOT / path).read_text())


@pytest.mark.slow
def test_the_built_wheel_holds_both_packages_and_asks_for_nothing(tmp_path):
    source = shutil.copytree(
        ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".*", "build", "demo-home", "*.egg-info")
    )
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"ave_logging-{ave.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith("/METADATA")]
        needs = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
    assert {"ave/record.py", "vcsjob/__init__.py", "ave/py.typed"} <= set(names)
    assert all("extra ==" in need for need in needs)
