#!/bin/sh
# Builds guest.wasm. On Debian: apt-get install clang lld
set -eu
cd "$(dirname "$0")"
clang --target=wasm32 -std=c11 -O2 -Wall -Wextra -Wno-missing-field-initializers -Werror -nostdlib -fno-builtin \
  -matomics -mbulk-memory -mmutable-globals \
  -Wl,--no-entry -Wl,--import-memory -Wl,--shared-memory -Wl,--max-memory=1073741824 \
  -Wl,--global-base=65536 -Wl,-z,stack-size=8192 -Wl,--strip-all \
  guest.c -o guest.wasm
