#!/bin/sh
# Makes the virtual environment VENV and installs curate with EXTRA into it, at the versions of constraints.txt.
# A torch that is there already (a CPU-only one, say) is kept as it is.
# Use: .ci/venv.sh PYTHON VENV EXTRA
set -eu
python=$1 venv=$2 extra=$3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "curate needs Python 3.11 or newer; $("$python" --version) is here. Next: make PYTHON=python3.12 ..." >&2
    exit 1
}
if [ ! -x "$venv/bin/pip" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv" 2>/dev/null || {
        echo "Python's venv module is incomplete here; installing Debian's python3-venv" >&2
        rm -rf "$venv"
        sh "$(dirname "$0")/apt.sh" python3-venv
        "$python" -m venv "$venv"
    }
fi
here=$("$venv/bin/python" - <<'PY'
from importlib import metadata

for name in ("torch", "torchvision"):
    try:
        print(f"{name}=={metadata.version(name)}")
    except metadata.PackageNotFoundError:
        pass
PY
)
if [ -n "$here" ]; then
    grep -vE '^(torch|torchvision)==' constraints.txt >"$venv/constraints.txt"
    echo "$here" >>"$venv/constraints.txt"
else
    cp constraints.txt "$venv/constraints.txt"
fi
echo "installing curate[$extra] into $venv (a few minutes the first time)"
"$venv/bin/pip" install --quiet --disable-pip-version-check -c "$venv/constraints.txt" -e ".[$extra]"
