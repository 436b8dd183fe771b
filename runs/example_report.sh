#!/usr/bin/env bash
# docs/example_report.html: the page of one `lloco evaluate` of the bundled model, with runs at three other ratios beside it.
# Minutes on 2 cores. It begins anew each time, since another bundled model is another run.
set -euo pipefail
export LLOCO_MODEL=records
cd "$(dirname "$0")/.."
OUT=work-example
rm -rf "$OUT"
mkdir "$OUT"
python recipes/records/generate.py --domain train-domains --split test --num-documents 100 --min-records 3 \
  --max-records 3 --seed 5 --out "$OUT/known.jsonl"
read_at() { # segment_len modes [flags]
  lloco evaluate --task jsonl --data "$OUT/known.jsonl" --limit 100 --max-tokens 16 --segment-len "$1" --modes "$2" \
    --out "$OUT/segments-of-$1" "${@:3}"
}
for segment_len in 32 128 256; do read_at "$segment_len" truncated,retrieval,compressed; done
read_at 64 none,truncated,retrieval,compressed,full \
  --beside "$OUT/segments-of-32" --beside "$OUT/segments-of-128" --beside "$OUT/segments-of-256"
cp "$OUT/segments-of-64/report.html" docs/example_report.html
