#!/bin/bash
# Prints the budgets' figures for this build: memory, CPU, disk writes, start, pods, connections, durable puts.
#   tests/bench/run.sh            builds the static release into build-bench and measures it
#   KUBEEDGE_BUILD=DIR            measures that build instead (it needs -Dbench=enabled)
#   KUBEEDGE_SAMPLE=SECONDS       how long CPU and disk writes are watched (60)
# Nothing is asserted by time; it fails only when something does not work.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "run it as root (it starts a containerd of its own)"; exit 77; }
. examples/lab.sh
build=${KUBEEDGE_BUILD:-$PWD/build-bench}
if [ -z "${KUBEEDGE_BUILD:-}" ]; then
  [ -f "$build/build.ninja" ] || meson setup "$build" -Dtests=disabled -Dexamples=disabled -Dbench=enabled -Dstatic_daemons=enabled >/dev/null || exit 1
  ninja -C "$build" >/dev/null || { echo "the build failed: ninja -C $build"; exit 1; }
fi
lab_start "$(mktemp -d /tmp/kubeedge-bench.XXXXXX)"
chmod 755 "$lab"
trap lab_stop EXIT
trap 'exit 130' INT TERM
lab_mosquitto "$(lab_free_port)" && lab_containerd || { tail -n 20 "$lab"/*.log; exit 1; }
KUBEEDGE_BUILD=$build python3 tests/bench/figures.py --lab "$lab" --mqtt "$lab_mqtt_port" --sample "${KUBEEDGE_SAMPLE:-60}"
