#!/usr/bin/env python3
"""docs/*.md word by word: files are written as named on their fences, commands (`$ ...`) run in one shell a page, in an empty
folder, against an installed tree, in a network namespace of its own so that the pages' default ports are free.

The lines below a command are its output; `...` stands for anything. What only looks (cat, grep, tail, kubectl get) is looked at
again until it says so, for up to 20 s."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

PAGES = ("device-apps.md", "firmware.md")
SECONDS = 20

if os.environ.get("KE_DOCS_NETNS") != "yes":
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        print("a network namespace of its own needs root")
        sys.exit(77)
    os.environ["KE_DOCS_NETNS"] = "yes"
    os.execvp("unshare", ["unshare", "--net", sys.executable, __file__])

from installed import install  # noqa: E402
from lab import ROOT  # noqa: E402


def blocks(page: str):
    """(language, file name or "", lines) of each fence."""
    for match in re.finditer(r"(?m)^```(\w+) ?(\S*)\n(.*?)^```$", page, re.S):
        yield match[1], match[2], match[3].splitlines()


def commands(lines):
    """(command, its expected lines): a command is a line that starts with "$ "."""
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def says(expected, output) -> bool:
    pattern = "\n".join(".*".join(re.escape(part) for part in line.split("...")) for line in expected)
    return re.search(rf"(?m)^{pattern}$", output.strip("\n")) is not None


class Shell:
    def __init__(self, folder, env):
        self.process = subprocess.Popen(["bash", "--norc"], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, start_new_session=True)
        self.run("set -m; shopt -s expand_aliases; exec 2>&1")   # job control: `kill %name` works as at a prompt

    def run(self, command):
        self.process.stdin.write(f"{command}\necho \"__end__ $?\"\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if "__end__ " in line:
                before, code = line.rstrip("\n").split("__end__ ")
                return "".join(lines) + before, int(code)
            lines.append(line)
        raise AssertionError(f"the shell ended at: {command}")

    def close(self):
        self.process.stdin.write("kill -KILL $(jobs -p) 2>/dev/null\nexit\n")
        self.process.stdin.close()
        self.process.wait(10)


def run_page(name, folder, env):
    shell, count = Shell(folder, env), 0
    try:
        for language, file, lines in blocks((ROOT / "docs" / name).read_text()):
            if file:
                (folder / file).write_text("\n".join(lines) + "\n")
            if language != "console":
                continue
            for command, expected in commands(lines):
                looks = command.split()[0] in ("cat", "grep", "tail") or command.startswith("kubectl get")
                deadline = time.monotonic() + (SECONDS if looks and expected else 0)
                while True:
                    output, code = shell.run(command)
                    good = says(expected, output) if expected else code == 0
                    if good or time.monotonic() > deadline:
                        break
                    time.sleep(0.2)
                assert good, f"{name}: $ {command}\nexit {code}, said:\n{output}\nexpected:\n" + "\n".join(expected)
                count += 1
    except AssertionError:
        for log in sorted(folder.glob("*.log")) + sorted(folder.glob("*.err")):
            print(f"--- {log.name}\n" + "".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:]))
        raise
    finally:
        shell.close()
    assert count > 5, f"{name}: only {count} commands"
    return count


subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
work = pathlib.Path(tempfile.mkdtemp(prefix="ke-docs."))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
try:
    tree = install(work / "tree")
    binaries = next(tree.root.rglob("edgecore")).parent
    packages = next(tree.root.rglob("kubeedge/_native.py"), None)
    env = {**tree.env, **{"LD_LIBRARY_PATH": str(tree.libs), "PATH": f"{binaries}:/usr/bin:/bin:/usr/sbin:/sbin:{os.environ['PATH']}",
                          "PYTHONPATH": str(packages.parent.parent) if packages else ""}}
    for page in PAGES:
        folder = work / page
        folder.mkdir()
        print(f"{page}: {run_page(page, folder, env)} commands did as the page says", flush=True)
finally:
    shutil.rmtree(work, ignore_errors=True)
