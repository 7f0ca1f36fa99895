#!/bin/bash
# The quickstart's main job with our cloudcore on a real kube-apiserver, and what only that can show: CRDs, RBAC, secrets,
# ObjectSyncs, the API server killed and back.
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v etcd >/dev/null || { echo "etcd is not installed (subprojects/install-deps.sh --full)"; exit 77; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kubeedge-tests
[ -x "$cache/kube-apiserver-1.32.2" ] || command -v go >/dev/null || { echo "no kube-apiserver in $cache and no Go to build it"; exit 77; }
BACKEND=$PWD/tests/interop/on_kube_apiserver.inc exec ./examples/quickstart.sh
