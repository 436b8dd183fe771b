#!/usr/bin/env bash
# The whole job on real benchmark files with the bundled model: compress, finetune, predict, score, all modes side by side.
# DATA holds the official files: quality/ scrolls/qmsum/ scrolls/qasper/ hotpot_qa/ longbench/ squad_articles/ fairytaleqa/
# squality/. Files without a training part are halved by documents; the second half is scored. TRAIN questions to finetune on and LIMIT to score a set.
set -euo pipefail
export LLOCO_MODEL=records
cd "$(dirname "$0")/.."
DATA=${1:?usage: runs/real_data.sh DATA [OUT]}
OUT=${2:-work-real-data}
LIMIT=${LIMIT:-60}
STEPS=${STEPS:-60}
TRAIN=${TRAIN:-60}
mkdir -p "$OUT"

job() { # name task train test
  local name=$1 task=$2 train=$3 test=$4
  lloco finetune --store "$OUT/store" --corpus "$name" --task "$task" --data "$train" --limit "$TRAIN" --num-steps "$STEPS" \
    --batch-size 4 --micro-batch-size 4 --learning-rate 2e-3 --lora-r 16 --lora-alpha 32 --out "$OUT/finetune-$name"
  lloco evaluate --store "$OUT/store" --corpus "$name" --task "$task" --data "$test" --limit "$LIMIT" \
    --max-tokens "$5" --modes none,truncated,retrieval,compressed,compressed+adapter,full --batch-size 4 --out "$OUT/$name"
}
halves() { # name file -> FIRST SECOND
  FIRST="$OUT/$1.first.${2##*.}" SECOND="$OUT/$1.second.${2##*.}"
  [[ $2 == *.json ]] || { FIRST="$OUT/$1.first.jsonl"; SECOND="$OUT/$1.second.jsonl"; }
  python runs/halves.py "$2" "$FIRST" "$SECOND"
}

python recipes/needles.py --split train --seed 1 --out "$OUT/needle.train.jsonl"
python recipes/needles.py --split test --out "$OUT/needle.test.jsonl"
LIMIT=100 TRAIN=100 job needle needle "$OUT/needle.train.jsonl" "$OUT/needle.test.jsonl" 16
halves hotpotqa "$DATA"/hotpot_qa/*.json
job hotpotqa hotpotqa "$FIRST" "$SECOND" 16
job fairytaleqa fairytaleqa "$DATA/fairytaleqa/train.jsonl.gz" "$DATA/fairytaleqa/validation.jsonl.gz" 24
halves quality "$DATA"/quality/QuALITY*dev
job quality quality "$FIRST" "$SECOND" 4
halves longbench "$DATA/longbench/multi_news.jsonl.gz"
# Question 45 of the first half has an answer, question 53 of QMSum a document, that does not fit the model's positions.
TRAIN=$((TRAIN < 44 ? TRAIN : 44)) job longbench longbench "$FIRST" "$SECOND" 64
halves qasper "$DATA/scrolls/qasper/validation.jsonl.gz"
job qasper qasper "$FIRST" "$SECOND" 24
job squality jsonl "$DATA/squality/train.jsonl.gz" "$DATA/squality/validation.jsonl.gz" 64
job squad_articles squad_articles "$DATA/squad_articles/train.jsonl.gz" "$DATA/squad_articles/validation.jsonl.gz" 16
TRAIN=$((TRAIN < 52 ? TRAIN : 52)) job qmsum qmsum "$DATA/scrolls/qmsum/train.jsonl.gz" "$DATA/scrolls/qmsum/validation.jsonl.gz" 64
