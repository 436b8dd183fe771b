#!/usr/bin/env bash
# Makes the bundled model again: generated records -> tokenizer -> language model -> compressor. About two hours on one core.
# The shipped weights took these steps with an earlier order of the first 1,600: see lloco/bundled/model/README.md.
# TEXT is any English prose as JSON lines with a "text" field; only the tokenizer sees it.
set -euo pipefail
cd "$(dirname "$0")/.."
TEXT=${1:?usage: runs/bundled_model.sh TEXT.jsonl [OUT]}
OUT=${2:-work-bundled-model}
GENERATE="python recipes/records/generate.py"
mkdir -p "$OUT"
$GENERATE --domain train-domains --split train --num-documents 60000 --min-records 1 --max-records 4 --seed 1 \
  --out "$OUT/train.jsonl"
$GENERATE --domain train-domains --split validation --num-documents 400 --min-records 3 --max-records 3 --seed 2 \
  --out "$OUT/validation.jsonl"
pretrain() {
  lloco pretrain --data "$OUT/train.jsonl" --validation "$OUT/validation.jsonl" --tokenizer-text "$TEXT" \
    --compressor-learning-rate 1.5e-3 "$@"
}
pretrain --lookup-steps 0 --language-model-steps 1800 --learning-rate 2.5e-3 --compressor-steps 600 --out "$OUT/first"
pretrain --init "$OUT/first/model" --language-model-steps 0 --compressor-steps 1700 --batch-tokens 2048 --copy-ratio 0.2 \
  --start-fraction 0.5 --out "$OUT/second"
