#!/usr/bin/env bash
# After gc.freeze(), triton 3.9.0 ends each process with a report of leaks on standard error: some 30 lines, status 0.
#
# PyTorch 2.15.0 for CUDA depends on triton 3.9.0, and sentence-transformers imports it, also on a machine without a GPU. Its
# bindings look, when the interpreter ends, for objects that were not freed. Frozen objects are exempt from the last collection.
# So a service that calls gc.freeze() once its model is loaded, as Python's documentation suggests before a fork, gets this report
# on every exit, and whoever reads its standard error by lines reads it, too. The way out: atexit.register(gc.unfreeze).
#
# Seen on 2026-11-28 with Python 3.11.7 and triton 3.9.0 (lines of standard error):
#   import triton                                0
#   import triton, then gc.freeze()             31   first: nanobind: leaked 4 instances!
#   the same, with atexit.register(gc.unfreeze)  0
#
# Needs Python 3.11 on x86_64 Linux. Exit status: 0 as described, 1 if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check triton==3.9.0

stderr_of() { "$work/venv/bin/python" -c "$1" 2>&1 >/dev/null; }
plain=$(stderr_of 'import triton')
frozen=$(stderr_of 'import gc, triton; gc.freeze()')
unfrozen=$(stderr_of 'import atexit, gc, triton; gc.freeze(); atexit.register(gc.unfreeze)')
echo "import triton: $(grep -c . <<<"$plain" || true) lines"
echo "then gc.freeze(): $(grep -c . <<<"$frozen" || true) lines, first: $(head -n 1 <<<"$frozen")"
echo "then gc.freeze() and atexit.register(gc.unfreeze): $(grep -c . <<<"$unfrozen" || true) lines"
[ -z "$plain" ] && [[ $frozen == *"nanobind: leaked"* ]] && [ -z "$unfrozen" ]
