#!/bin/sh
# Generates types from an OpenAPI document and compiles program.ts against them.
# usage: check.sh OPENAPI-JSON FOLDER; FOLDER keeps the npm packages. Ends with 3 when these cannot be had.
set -eu
document=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
cp "$(dirname "$0")"/package.json "$(dirname "$0")"/package-lock.json \
    "$(dirname "$0")"/tsconfig.json "$(dirname "$0")"/program.ts "$2"
cd "$2"
if ! cmp -s package-lock.json installed-lock.json; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=0 --fetch-timeout=20000 || exit 3
    cp package-lock.json installed-lock.json
fi
./node_modules/.bin/openapi-typescript "$document" -o kubegale.ts
./node_modules/.bin/tsc -p .
echo "tsc: no error"
