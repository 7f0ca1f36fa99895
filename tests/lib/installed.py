"""What `meson install` gives, somewhere else than its prefix: programs are built against it with pkg-config alone."""
import os
import pathlib
import subprocess

from lab import BUILD

CXX = os.environ.get("CXX", "g++").split()


def output(*command, env=None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


class Tree:
    """pkg-config is told of the place by its own sysroot variable, programs by the loader's."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.libs = next(root.rglob("kubeedge.pc")).parent.parent
        self.env = {**os.environ, "PKG_CONFIG_PATH": str(self.libs / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(root)}
        self.run_env = {**os.environ, "LD_LIBRARY_PATH": str(self.libs)}

    def flags(self, *what) -> list:
        return output("pkg-config", *what, env=self.env).split()

    def build(self, source: pathlib.Path, binary: pathlib.Path, package: str, *flags, compiler=CXX) -> pathlib.Path:
        static = ["--static"] if "--static" in flags else []
        output(*compiler, *(flag for flag in flags if flag != "--static"), source, "-o", binary, *self.flags("--cflags", "--libs", *static, package))
        return binary


def install(to: pathlib.Path) -> Tree:
    output("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", to)
    return Tree(to)
