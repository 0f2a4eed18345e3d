#!/usr/bin/env bash
# One command on a fresh machine: installs into .venv, then does the main job
# on real photographs with what is in the box.
#   bash run.sh        measure, restore, train; writes demo/table.md and demo/sheet.png
#   bash run.sh test   installs and runs the tests but for slow ones; with `-m slow` these
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3}
venv=${VENV:-.venv}
extra=""
[ "${1:-}" = test ] && extra="[test]"

if [ ! -x "$venv/bin/python" ]; then
  "$python" -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check -e ".$extra"

case "${1:-}" in
  test) exec "$venv/bin/python" -m pytest -n 2 --dist worksteal -q -m "not slow" "${@:2}" ;;
  "") exec "$venv/bin/python" -m deblur_tf.bin.demo -o demo ;;
  *) echo "usage: bash run.sh [test]" >&2; exit 2 ;;
esac
