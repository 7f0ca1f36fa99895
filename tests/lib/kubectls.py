"""The kubectls that users have: the one of the PATH and Debian's, which an installed one keeps from being installed."""
import os
import pathlib
import shutil
import subprocess


def kubectls() -> list[str]:
    debian = debian_kubectl()
    return [shutil.which("kubectl"), *([debian] if debian else [])]


def debian_kubectl() -> str | None:
    """Debian's kubectl, unpacked into the tests' cache; None where it is installed and so the one of the PATH."""
    if subprocess.run(["dpkg-query", "-W", "-f=${Status}", "kubernetes-client"], capture_output=True, text=True).stdout.endswith("ok installed"):
        return None
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kubeedge-tests/kubernetes-client"
    kubectl = cache / "usr/bin/kubectl"
    if not kubectl.exists():
        cache.mkdir(parents=True, exist_ok=True)
        get = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "kubernetes-client"]
        if subprocess.run(get, cwd=cache, capture_output=True).returncode:
            subprocess.run(["apt-get", "-qq", "update"], check=True)
            subprocess.run(get, cwd=cache, check=True)
        (package,) = cache.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, cache], check=True)
        package.unlink()
    return str(kubectl)
