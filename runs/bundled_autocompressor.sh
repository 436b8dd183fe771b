#!/usr/bin/env bash
# Makes an autocompressor like the bundled one: generated records -> tokenizer -> lookups -> cards -> sentences -> compressor.
# About two and a half hours on one core. The shipped weights took more steps of random tokens in place of the first leg,
# and constant learning rates in the next two: see lloco/bundled/autocompressor/README.md.
# TEXT is any English prose as JSON lines with a "text" field; only the tokenizer sees it.
set -euo pipefail
cd "$(dirname "$0")/.."
TEXT=${1:?usage: runs/bundled_autocompressor.sh TEXT.jsonl [OUT]}
OUT=${2:-work-bundled-autocompressor}
mkdir -p "$OUT"
generate() {
  python recipes/records/generate.py --domain train-domains --split train --min-records "$1" --max-records 4 \
    --min-facts 1 --max-facts "$2" --card-rate "$3" --num-documents "$4" --seed "$5" --out "$OUT/$6.jsonl"
}
generate 2 3 1.0 30000 1 cards
generate 2 4 0.5 40000 3 mixed
generate 1 4 0.3 60000 5 train
python recipes/records/generate.py --domain train-domains --split validation --num-documents 300 --min-records 3 \
  --max-records 3 --seed 2 --out "$OUT/validation.jsonl"
pretrain() {
  lloco pretrain --validation "$OUT/validation.jsonl" --batch-tokens 2048 --learning-rate 1.5e-3 \
    --compressor-learning-rate 1.5e-3 "$@"
}
text=(--copy-ratio 0.1 --text-target-ratio 0.1 --repeat-ratio 0 --start-fraction 1 --compressor-steps 0)
pretrain --data "$OUT/train.jsonl" --tokenizer-text "$TEXT" --learning-rate 2e-3 --lookup-steps 2500 \
  --language-model-steps 0 --compressor-steps 0 --design autocompressor --ratios 8 --out "$OUT/lookup"
pretrain --data "$OUT/cards.jsonl" --init "$OUT/lookup/model" "${text[@]}" --language-model-steps 900 --out "$OUT/cards"
pretrain --data "$OUT/mixed.jsonl" --init "$OUT/cards/model" "${text[@]}" --language-model-steps 1000 --out "$OUT/mixed"
pretrain --data "$OUT/train.jsonl" --init "$OUT/mixed/model" --ratios 8,2,4 --copy-ratio 0.2 --language-model-steps 0 \
  --compressor-steps 3400 --out "$OUT/compressor"
