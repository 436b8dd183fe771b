#!/usr/bin/env bash
# The figures of docs/bench.md: each bench in one run, on this machine. OUT gets a folder for each.
set -euo pipefail
export LLOCO_MODEL=records
cd "$(dirname "$0")/.."
OUT=${1:-work-bench}
mkdir -p "$OUT"
cat > "$OUT/llama-100m.json" <<'JSON'
{"model_type": "llama", "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 10,
 "num_attention_heads": 12, "num_key_value_heads": 12, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}
JSON
lloco bench latency --contexts 1024,3840 --repeats 5 --out "$OUT/latency"
# The text at 32,768 takes two minutes a time.
lloco bench latency --random-weights "$OUT/llama-100m.json" --contexts 1024,8192,32768 --repeats 2 \
  --out "$OUT/latency-100m"
# 24 minutes.
lloco bench latency --random-weights "$OUT/llama-100m.json" --contexts 8192,32768 --batch-size 4 --repeats 2 \
  --out "$OUT/latency-100m-batch-4"
# A quarter of an hour.
lloco bench latency --random-weights "$OUT/llama-100m.json" --contexts 65536 --repeats 1 --out "$OUT/latency-100m-64k"
lloco bench compress --random-weights "$OUT/llama-100m.json" --segment-len 512 --summary-length 16 --lengths 2048 \
  --batch-sizes 1,4 --documents 4 --out "$OUT/compress-100m"
lloco bench compress --lengths 512,8192 --batch-sizes 4,8,16 --repeats 5 --out "$OUT/compress-bundled"
lloco bench compress --compressor bundled-autocompressor --lengths 512,2048,8192 --batch-sizes 1,4,8 --documents 8 \
  --out "$OUT/compress-bundled-autocompressor"
lloco bench finetune --out "$OUT/finetune"
lloco bench serve --out "$OUT/serve"
rates=(--context-tokens 3500 --corpora 4 --documents 2 --prefix-cache-mb 256 --repeats 1)
for seed in 0 1; do
  lloco bench serve --p95-seconds 2 "${rates[@]}" --requests 20 --seed "$seed" --out "$OUT/serve-rates-$seed"
done
# Where `make test-vllm` has made its environment.
if [ -x .venv-vllm/bin/lloco ]; then
  for rank in 8 0; do
    .venv-vllm/bin/lloco bench serve --engine vllm --p95-seconds 4 "${rates[@]}" --requests 16 --lora-rank "$rank" \
      --out "$OUT/serve-rates-vllm-$rank"
  done
fi
cat > "$OUT/llama-25m.json" <<'JSON'
{"model_type": "llama", "vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8,
 "num_attention_heads": 8, "num_key_value_heads": 2, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}
JSON
lloco bench serve --p95-seconds 10 --random-weights "$OUT/llama-25m.json" --context-tokens 4000 --corpora 4 --documents 2 \
  --prefix-cache-mb 512 --repeats 1 --out "$OUT/serve-rates-25m"
python -m benchmarks store --out "$OUT/store"
# 41 minutes, and 16 GB where temporary files are.
python -m benchmarks store --max-documents 1000000 --storage-dtypes int8 --out "$OUT/store-million"
# Compiles, too: needs a C++ compiler.
python runs/pass_profile.py "$OUT/llama-100m.json" 1 560
