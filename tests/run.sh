#!/bin/bash
# Installs what is needed, builds, runs every suite; ends with "N passed, N failed, N skipped".
#   tests/run.sh                the default tier (CI's)
#   tests/run.sh --full [SUITE] clang, sanitizer and interop suites that take longer; suites that read KUBEEDGE_TIER do more rounds
# A suite is an executable tests/integration/*.sh or *.py: exit 0 = passed, 77 = skipped (its last line says why).
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
tier=default; suite_seconds=900
[ "${1:-}" = --full ] && { tier=full; suite_seconds=7200; shift; }
only=${1:-}
passed=0; failed=0; skipped=0
export KUBEEDGE_TIER=$tier
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
logs=$(mktemp -d "${TMPDIR:-/tmp}/kubeedge-tests.XXXXXX")

step() {  # step NAME COMMAND...
  local name=$1 log rc started=$SECONDS; shift
  log=$logs/${name//\//_}.log
  "$@" >"$log" 2>&1 </dev/null; rc=$?
  case $rc in
    0) passed=$((passed + 1)); echo "ok   $name ($((SECONDS - started)) s)" ;;
    77) skipped=$((skipped + 1)); echo "skip $name: $(tail -n 1 "$log")" ;;
    *) failed=$((failed + 1)); echo "FAIL $name (exit $rc, log $log)"; tail -n 60 "$log" ;;
  esac
  return $rc
}

meson_build() {  # meson_build DIR OPTIONS...
  local dir=$1; shift
  [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" || return 1
  ninja -C "$dir"
}

if [ "$tier" = full ]; then subprojects/install-deps.sh --full; else subprojects/install-deps.sh; fi || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }

fuzz_replay() {  # the committed corpora through every target, built by gcc with ASan
  local target replayed=0
  for target in build-asan/tests/fuzz/fuzz-*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    timeout 300 "$target" "tests/fuzz/corpus/${target##*/fuzz-}" || return 1
    replayed=$((replayed + 1))
  done
  [ "$replayed" -gt 0 ]
}

fuzz_build() {
  [ -f build-fuzz/build.ninja ] || meson setup build-fuzz --werror -Dfuzz=enabled -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined \
    -Db_lundef=false -Ddaemons=disabled -Dexamples=disabled || return 1
  ninja -C build-fuzz fuzz
}

wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

wanted layers && step layers python3 tests/layers.py
wanted pure && step pure python3 tests/pure.py
if wanted unit; then
  step build/asan meson_build build-asan --werror -Dbuildtype=debug -Doptimization=0 -Db_sanitize=address,undefined -Db_lundef=false -Ddaemons=disabled -Dexamples=disabled -Dfuzz=enabled && {
    for test in build-asan/tests/unit/*/test-*; do
      [ -x "$test" ] && [ -f "$test" ] && step "unit/${test##*/test-}" timeout 300 "$test"
    done
    step fuzz/replay fuzz_replay
  }
fi
step build/release meson_build build --werror -Dtests=disabled && {
  export KUBEEDGE_BUILD=$root/build
  for suite in tests/integration/*.sh tests/integration/*.py; do
    [ -x "$suite" ] || continue
    name=${suite##*/}
    wanted "${name%.*}" && step "integration/${name%.*}" timeout "$suite_seconds" "$suite"
  done
}
if [ "$tier" = full ]; then
  if wanted clang; then CXX=clang++-14 step build/clang meson_build build-clang --werror; fi
  if wanted model; then
    CXX=clang++-14 step build/model meson_build build-clang --werror && {
      step model/repair env KUBEEDGE_ROUNDS=100 timeout 3000 build-clang/tests/unit/repair/test-repair
      step model/power_cut env KUBEEDGE_ROUNDS=100 timeout 3000 build-clang/tests/unit/store/test-store -tc='a power cut*'
    }
  fi
  if wanted tsan; then
    step build/tsan meson_build build-tsan -Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false -Ddaemons=disabled -Dexamples=disabled &&
      for test in build-tsan/tests/unit/*/test-*; do [ -f "$test" ] && [ -x "$test" ] && step "tsan/${test##*/test-}" timeout 600 "$test"; done
  fi
  # New finds are kept beside the logs, named by the step that fails: put them into tests/fuzz/corpus.
  if wanted fuzz; then
    CXX=clang++-14 step build/fuzz fuzz_build &&
      for target in build-fuzz/tests/fuzz/fuzz-*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        name=${target##*/fuzz-}; mkdir -p "$logs/$name"
        step "fuzz/$name" "$target" -max_total_time="${KUBEEDGE_FUZZ_SECONDS:-60}" -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$logs/$name/" "$logs/$name" "tests/fuzz/corpus/$name"
      done
  fi
  if wanted bench; then
    step bench env -u KUBEEDGE_BUILD tests/bench/run.sh && cat "$logs/bench.log"
  fi
  for suite in tests/interop/*.sh tests/interop/*.py; do
    [ -x "$suite" ] || continue
    name=${suite##*/}
    wanted "${name%.*}" && step "interop/${name%.*}" timeout 3600 "$suite"
  done
fi

[ "$failed" -eq 0 ] && rm -rf "$logs"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
