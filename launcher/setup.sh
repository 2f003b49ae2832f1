#!/bin/sh
# Makes .venv and installs into it; does nothing when nothing has changed. usage: launcher/setup.sh REQUIREMENTS-FILE
set -eu
cd "$(dirname "$0")/.."
wanted=${1:-requirements-dev.txt}
stamp=.venv/.installed
fingerprint=$(cat requirements.txt "$wanted" launcher/setup.sh | cksum)

fail() { echo "kubegale: $*" >&2; exit 1; }

installed() {
    [ -x .venv/bin/python ] && [ -f "$stamp" ] || return 1
    grep -qxF "$wanted $fingerprint" "$stamp" && return 0
    # What the tests and make run need holds what production needs.
    [ "$wanted" = requirements.txt ] && grep -qxF "requirements-dev.txt $(cat requirements.txt requirements-dev.txt launcher/setup.sh | cksum)" "$stamp"
}

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer was not found: install it, or name it in PYTHON (make PYTHON=/path/to/python3.11)."
}

make_venv() {
    python=$1
    if "$python" -c 'import venv; from ensurepip import version' >/dev/null 2>&1; then
        "$python" -m venv --clear .venv
    elif "$python" -c 'import venv, pip' >/dev/null 2>&1; then
        "$python" -m venv --clear --without-pip .venv
        "$python" -m pip --quiet --python .venv/bin/python install pip
    elif command -v uv >/dev/null 2>&1; then
        uv venv --quiet --clear --seed --python "$python" .venv
    else
        fail "$python has no ensurepip: install its venv package (Debian, Ubuntu: apt-get install python3-venv), then try again."
    fi
}

# uv does not read pip's configuration; what it says about the index must hold for both.
adopt_pip_settings() {
    index=$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)
    [ -z "${PIP_INDEX_URL:-$index}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$index}}"
    [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
    export PIP_DISABLE_PIP_VERSION_CHECK=1
}

# Production pays for bytecode now and starts fast ever after; on a workbench three quarters of it would never be imported.
install() {
    [ "$wanted" = requirements.txt ] && bytecode=--compile-bytecode || bytecode=--no-compile-bytecode
    .venv/bin/python -m pip --quiet install uv &&
        .venv/bin/python -m uv pip install --quiet --python .venv/bin/python "$bytecode" -r "$wanted"
}

if installed; then exit 0; fi
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || exit 1
    make_venv "$python"
fi
echo "kubegale: installing $wanted into .venv (once)" >&2
rm -f "$stamp"
adopt_pip_settings
install || { echo "kubegale: that failed; once more" >&2; sleep 2; install; } || .venv/bin/python -m pip --quiet install -r "$wanted" ||
    fail "the packages in $wanted could not be installed (see above): is the package index reachable?"
echo "$wanted $fingerprint" >"$stamp"
