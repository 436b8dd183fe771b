#!/usr/bin/env bash
# The tables of docs/results.md about the bundled model on records: known and other domains at every ratio, then two unseen
# domains with an adapter at 8x (the demo) and at 16x. About 20 minutes on 2 cores. OUT gets a folder for each.
set -euo pipefail
export LLOCO_MODEL=records
cd "$(dirname "$0")/.."
OUT=${1:-work-bundled-tables}
mkdir -p "$OUT"
DOCUMENTS=lloco/bundled/documents
STORE="$OUT/store"
evaluate() { lloco evaluate --task jsonl "$@"; }
for domains in train-domains more-domains; do
  data="$OUT/$domains.jsonl"
  python recipes/records/generate.py --domain "$domains" --split test --num-documents 100 --min-records 3 --max-records 3 \
    --seed 5 --out "$data"
  evaluate --data "$data" --limit 400 --max-tokens 16 --modes none,truncated,retrieval,compressed,full --out "$OUT/$domains-8x"
  for ratio in 4 16 32; do
    evaluate --data "$data" --limit 400 --max-tokens 16 --modes truncated,retrieval,compressed --segment-len $((8 * ratio)) \
      --out "$OUT/$domains-${ratio}x"
  done
done
for domain in museum railway; do
  lloco demo --task "$domain" --out "$OUT/$domain-8x"
  lloco compress "$DOCUMENTS/${domain}_train.jsonl.gz" "$DOCUMENTS/${domain}_test.jsonl.gz" --corpus "$domain" --ratio 16 \
    --store "$STORE"
  lloco finetune --corpus "$domain" --store "$STORE" --task jsonl --data "$DOCUMENTS/${domain}_train.jsonl.gz" \
    --num-steps 600 --batch-size 32 --micro-batch-size 32 --learning-rate 3e-3 --lora-r 16 --lora-alpha 32 \
    --lora-dropout 0 --out "$OUT/$domain-16x-adapter"
  evaluate --data "$DOCUMENTS/${domain}_test.jsonl.gz" --limit 200 --corpus "$domain" --store "$STORE" --max-tokens 24 \
    --modes none,none+adapter,truncated,retrieval,compressed,compressed+adapter,full --out "$OUT/$domain-16x"
done
