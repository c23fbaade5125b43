"""What is shipped."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from docutils.core import publish_doctree

import django_bulkupsert

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the wheel and the sdist from a copy of the tree."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    files = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", out, source], check=True, capture_output=True
    )
    return out


def test_wheel_holds_the_package_alone(built):
    """The wheel has django_bulkupsert, with py.typed, and nothing beside it."""
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"django_bulkupsert"}
    assert "django_bulkupsert/py.typed" in names
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "django_bulkupsert").rglob("*.py")}
    assert modules <= set(names)


def test_metadata(built):
    """Django is the one requirement; drivers and the rest are extras."""
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (path,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    lines = archive.read(path).decode().splitlines()
    required = [line for line in lines if line.startswith("Requires-Dist") and "extra" not in line]
    assert required == ["Requires-Dist: Django>=4.2"]
    assert "Requires-Python: >=3.10" in lines
    extras = ["psycopg2", "psycopg", "speed", "arrow", "demo", "test", "others", "bench"]
    for extra in (*extras, "docs", "dev"):
        assert f"Provides-Extra: {extra}" in lines


def test_sdist(built):
    """The sdist builds: it has what setup.cfg names."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"setup.cfg", "README.rst", "LICENSE", "pyproject.toml", "CHANGELOG.rst"} <= names
    assert {"Makefile", "tox.ini", "tests/conftest.py", "testproject/settings.py"} <= names
    assert "SECURITY.rst" in names


@pytest.mark.parametrize("name", ["README.rst", "CHANGELOG.rst", "SECURITY.rst"])
def test_documents_render(name):
    """What is read outside the docs is plain docutils, as an index and a host render it."""
    text = (ROOT / name).read_text()
    publish_doctree(text, settings_overrides={"report_level": 2, "halt_level": 2})


def test_version_is_in_one_place():
    """The changelog begins with the version of the package, which no other file repeats."""
    version = re.escape(django_bulkupsert.__version__)
    first = re.search(r"^(\S+) \(.*\)\n-+$", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert re.fullmatch(version, first[1])
    for name in ("setup.cfg", "pyproject.toml", "docs/conf.py"):
        assert not re.search(rf"version.*{version}\b", (ROOT / name).read_text()), name


def test_an_index_takes_it(built):
    """What is built has all that a package index asks for, and a README that it can show."""
    pytest.importorskip("twine")
    files = sorted(built.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
