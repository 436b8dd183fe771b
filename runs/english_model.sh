#!/usr/bin/env bash
# Makes a small English model and its compressor on one GPU: tokenizer -> lookups -> text -> reading -> compressor -> scores.
#
#   python recipes/english/make_data.py --out DATA --held-out ...   # DATA/reading.jsonl.gz, DATA/text.jsonl.gz
#   runs/english_model.sh DATA [OUT]
#   SMALL=1 runs/english_model.sh DATA [OUT]    # the same legs, a few steps of a tiny shape: minutes on a CPU
#
# DATA also holds squad_articles/validation.jsonl.gz and fairytaleqa/validation.jsonl.gz, or SQUAD and FAIRYTALEQA name
# them (SQUAD=rajpurkar/squad comes from the hub). A killed run goes on where it was.
#
# NOT RUN at full size: only SMALL=1 was, five minutes beside other work on two CPU cores. What follows is worked out, not measured.
#
# Shape: 8 layers, 512 wide, 8 query and 2 key-value heads of 64, 1,408 inside, 8,192 tokens.
#   embeddings 8,192 x 512 = 4.2 M (tied); a layer 512 x (512 + 128 + 128 + 512) + 3 x 512 x 1,408 = 2.8 M, eight 22.5 M:
#   26.7 M. The compressor's encoder begins as a copy of the layers: 22.5 M more, and 1 M from states to vectors.
# Tokens (3.8 characters, 1.5 a word, counted on 4 MB of such text): the default sources give some 650 MB of text = 170 M
# and, in about 110,000 passages with 230,000 questions, 27 M. Twenty tokens a weight are 530 M.
#   lookup           2,500 steps x 16,384 =    41 M random tokens
#   language model  18,000 steps x 32,768 =   590 M: the text about three times; every token is predicted
#   reading          4,000 steps x 32,768 =   131 M: passages, their questions, and records with their names as headings
#   compressor      10,000 steps x 32,768 =   328 M
#   together                                1,090 M
# Arithmetic: 6 x 26.7 M operations a token, 1.7e17 in all, and as much again in the compressor leg where the encoder and
# two readings of a document come on top: about 3e17, ten minutes at a tenth of an H100's bfloat16 peak (1e15 a second).
# Time: a micro-batch is one document of up to 2,048 tokens, or short ones of 768 together, through unfused attention. It
# is a thousand small kernels forwards and backwards, 15 to 30 ms however fast the GPU is: 30,000 to 100,000 tokens a
# second, so 3 to 10 hours for 1,090 M tokens. Memory: below 8 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
DATA=${1:?usage: [SMALL=1] runs/english_model.sh DATA [OUT]}
OUT=${2:-work-english-model}
SQUAD=${SQUAD:-$DATA/squad_articles/validation.jsonl.gz}
FAIRYTALEQA=${FAIRYTALEQA:-$DATA/fairytaleqa/validation.jsonl.gz}
LIMIT=${LIMIT:-400}
EVALUATE_BATCH=8
shape=(--vocab-size 8192 --hidden-size 512 --intermediate-size 1408 --num-hidden-layers 8 --num-attention-heads 8
  --num-key-value-heads 2 --summary-length 8)
LOOKUP_STEPS=2500 TEXT_STEPS=18000 READING_STEPS=4000 COMPRESSOR_STEPS=10000
LOOKUP_TOKENS=16384 BATCH_TOKENS=32768 RECORDS=40000 EVERY=500
if [[ -n ${SMALL:-} ]]; then
  shape=(--vocab-size 512 --hidden-size 32 --intermediate-size 64 --num-hidden-layers 2 --num-attention-heads 2
    --num-key-value-heads 1 --summary-length 8 --no-bf16)
  LOOKUP_STEPS=4 TEXT_STEPS=4 READING_STEPS=4 COMPRESSOR_STEPS=8
  LOOKUP_TOKENS=1024 BATCH_TOKENS=2048 RECORDS=100 EVERY=4
  LIMIT=4 EVALUATE_BATCH=2
fi
mkdir -p "$OUT"

# One passage in a hundred is kept apart: exact match on them is logged, the benchmarks are read at the end only.
gzip -dc "$DATA/reading.jsonl.gz" | awk -v kept="$OUT/passages.validation.jsonl" -v rest="$OUT/passages.train.jsonl" \
  '{ print > (NR % 100 == 0 ? kept : rest) }'
python recipes/records/generate.py --domain wide --split train --min-records 2 --max-records 6 --card-rate 0.5 \
  --num-documents "$RECORDS" --seed 1 --out "$OUT/records.jsonl"

leg() { # name, then flags
  local name=$1
  shift
  lloco pretrain "${shape[@]}" --max-document-tokens 2048 --validation "$OUT/passages.validation.jsonl" \
    --evaluate-every "$EVERY" --compressor-steps 0 --language-model-steps 0 --out "$OUT/$name" "$@"
}
# The first legs have no encoder yet (an autocompressor is the same layers): the last one copies what they have learned.
leg lookup --design autocompressor --data "$OUT/passages.train.jsonl" --data "$DATA/text.jsonl.gz" \
  --lookup-steps "$LOOKUP_STEPS" --batch-tokens "$LOOKUP_TOKENS" --learning-rate 2e-3
leg text --init "$OUT/lookup/model" --data "$DATA/text.jsonl.gz" --data "$OUT/passages.train.jsonl" \
  --language-model-steps "$TEXT_STEPS" --batch-tokens "$BATCH_TOKENS" --learning-rate 1.5e-3 \
  --copy-ratio 0.05 --text-target-ratio 1 --repeat-ratio 0.02 --start-fraction 1
leg reading --init "$OUT/text/model" --data "$OUT/passages.train.jsonl" --data "$OUT/records.jsonl" \
  --language-model-steps "$READING_STEPS" --batch-tokens "$BATCH_TOKENS" --learning-rate 7e-4 \
  --copy-ratio 0.1 --text-target-ratio 0.1 --repeat-ratio 0 --start-fraction 1
leg compressor --init "$OUT/reading/model" --design pooling --ratios 8,4,16,32 \
  --data "$OUT/passages.train.jsonl" --data "$OUT/records.jsonl" --data "$DATA/text.jsonl.gz" \
  --compressor-steps "$COMPRESSOR_STEPS" --batch-tokens "$BATCH_TOKENS" --compressor-learning-rate 7e-4 \
  --copy-ratio 0.1 --distractor-ratio 0.3 --not-answerable-ratio 0.15

score() { # task data tokens
  lloco evaluate --task "$1" --data "$2" --compressor "$OUT/compressor/model" --limit "$LIMIT" --max-tokens "$3" \
    --batch-size "$EVALUATE_BATCH" --modes none,truncated,retrieval,compressed,full --out "$OUT/evaluate-$1"
}
# Whole articles are longer than the model's 4,096 positions, and past 2,048 it was not trained: `full` says what it cut.
score squad_articles "$SQUAD" 16
score fairytaleqa "$FAIRYTALEQA" 24
