#!/usr/bin/env python3
"""The Python package's own tests, by pytest of the system's python3, against the installed package and library."""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from installed import install  # noqa: E402
from lab import ROOT  # noqa: E402

PYTHON = "/usr/bin/python3"   # Debian's, which has Debian's cffi

if subprocess.run([PYTHON, "-c", "import cffi, pytest"], capture_output=True).returncode:
    print("python3-cffi or python3-pytest is not installed")
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="ke-python.") as folder:
    tree = install(pathlib.Path(folder))
    package = next(tree.root.rglob("kubeedge/_native.py")).parent
    env = {**tree.run_env, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "bindings/python/tests"], env=env)
sys.exit(done.returncode)
