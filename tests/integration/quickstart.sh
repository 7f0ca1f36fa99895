#!/bin/bash
# The quickstart itself is the end-to-end test; then it must fail, and name the step, when a part is broken.
set -u
cd "$(dirname "$0")/../.." || exit 1
for daemon in cloudcore edgecore; do
  [ -x "$KUBEEDGE_BUILD/daemons/$daemon/$daemon" ] || { echo "$daemon is not built yet (the assembly is still being written)"; exit 77; }
done
./examples/quickstart.sh || exit 1
for part in edgecore mosquitto containerd; do
  if out=$(BREAK=$part ./examples/quickstart.sh 2>&1); then echo "it passed with $part broken: $out"; exit 1; fi
  echo "$out" | grep "quickstart: step" || { echo "with $part broken no step is named: $out"; exit 1; }
done
