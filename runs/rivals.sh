#!/usr/bin/env bash
# The tables of rivals in docs/bench.md: every way in one run a task, on the bundled model. `make test-rivals` makes the
# environment, with kvpress; the embedder is WordLlama's, from its wheel (without one there is no row by meaning):
#   pip download --no-deps wordllama==0.4.0.post1
#   PATH=$PWD/.venv-rivals/bin:$PATH WHEEL=$(ls wordllama-*.whl) runs/rivals.sh [OUT]
# LIMIT=100 asks fewer questions, TASKS=known leaves the museum out.
set -euo pipefail
export LLOCO_MODEL=records
OUT=$(realpath -m "${1:-work-rivals}")
WHEEL=${WHEEL:+$(realpath "$WHEEL")}
LIMIT=${LIMIT:-400}
cd "$(dirname "$0")/.."
mkdir -p "$OUT"
embedder=()
if [ -n "$WHEEL" ]; then
  PYTHONPATH=runs python -c 'import sys; from pathlib import Path; from retrieval import make_embedder
make_embedder(Path(sys.argv[1]), Path(sys.argv[2]))' "$WHEEL" "$OUT/embedder"
  embedder=(--embedder "$OUT/embedder")
fi
python recipes/records/generate.py --domain train-domains --split test --num-documents 100 --min-records 3 \
  --max-records 3 --seed 5 --out "$OUT/known.jsonl"
python -m benchmarks rivals --task jsonl --data "$OUT/known.jsonl" --limit "$LIMIT" --max-tokens 16 "${embedder[@]}" \
  --out "$OUT/known"
if [ "${TASKS:-known,museum}" != known ]; then
  lloco demo --task museum --out "$OUT/demo"
  python -m benchmarks rivals --task jsonl --data lloco/bundled/documents/museum_test.jsonl.gz --max-tokens 24 \
    --limit "$((LIMIT < 200 ? LIMIT : 200))" --adapter "$OUT/demo/finetune-museum/adapter" "${embedder[@]}" \
    --out "$OUT/museum"
fi
