#!/usr/bin/env bash
# Run the tests of the training kernels and of the native engine under AddressSanitizer and UndefinedBehaviorSanitizer of GCC (`make sanitize`).
#
#   tools/dev/sanitize_kernels.sh PYTHON
#
# The kernels are built by a compiler of one line that adds the sanitizers, in a folder of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:?usage: tools/dev/sanitize_kernels.sh PYTHON}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/g++" <<'COMPILER'
#!/bin/sh
exec c++ -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g "$@"
COMPILER
chmod +x "$folder/g++"

# Python, which is not built with them, has to load the sanitizers before anything else. It and PyTorch keep memory to
# the end, which is no leak.
libraries="$(c++ -print-file-name=libasan.so) $(c++ -print-file-name=libubsan.so)"
CXX="$folder/g++" TORCH_EXTENSIONS_DIR="$folder/extensions" LD_PRELOAD="$libraries" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  "$python" -m pytest tests/acceleration/test_{norm_kernels,weight_gradient,stem,native}.py -p no:cacheprovider
