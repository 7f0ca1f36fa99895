"""libkubeedge-c through cffi's ABI mode: no compiler needed. The declarations are the C header itself."""
import os
import pathlib

from cffi import FFI


def _header() -> str:
    here = pathlib.Path(__file__).resolve()
    for path in (here.parent / "kubeedge.h", here.parents[3] / "include/kubeedge/c/kubeedge.h"):   # installed, or the source tree
        if path.exists():
            return path.read_text()
    raise ImportError(f"kubeedge.h is not beside {here}")


def _declarations(header: str) -> str:
    """Without what only a preprocessor reads: the C++ parts, the directives, the export mark."""
    lines, skipped = [], False
    for line in header.splitlines():
        if line.startswith("#ifdef __cplusplus"):
            skipped = True
        elif line.startswith("#endif"):
            skipped = False
        elif not skipped and not line.startswith("#"):
            lines.append(line.replace("KE_API ", ""))
    return "\n".join(lines)


ffi = FFI()
ffi.cdef(_declarations(_header()))
lib = ffi.dlopen(os.environ.get("KUBEEDGE_LIBRARY", "libkubeedge-c.so.0"))


def text(pointer) -> str:
    return ffi.string(pointer).decode() if pointer else ""
