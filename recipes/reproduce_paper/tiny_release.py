"""The published files in small: the same names, keys and layouts with random weights, to run the recipe and tests on.

princeton-nlp/AutoCompressor-Llama-2-7b-6k: two pickled shards in bfloat16 with an index, a config of transformers 4.34.
xiuyul/Lloco-7b-*: adapter_config.json of PEFT 0.5, adapter_model.safetensors in float16, no wording. The public code's
embeddings file: a pickled dict from id to vectors.
"""

import json
import shutil
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from lloco.models.named import RECORDS_FOLDER

HIDDEN_SIZE, SUMMARY_LENGTH, VOCAB_SIZE = 64, 50, 4096
CONFIG = {
    "_name_or_path": "princeton-nlp/AutoCompressor-Llama-2-7b-6k",
    "accumulate_summary": True,
    "architectures": ["LlamaAutoCompressorModel"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": HIDDEN_SIZE,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "segment_gradient_checkpointing": True,
    "summary_length": SUMMARY_LENGTH,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.34.0.dev0",
    "use_cache": True,
    "vocab_size": VOCAB_SIZE,
}
ADAPTER_CONFIG = {
    "auto_mapping": None,
    "base_model_name_or_path": "princeton-nlp/AutoCompressor-Llama-2-7b-6k",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layers_pattern": None,
    "layers_to_transform": None,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": 8,
    "revision": None,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "task_type": "CAUSAL_LM",
}
STORY = (
    "The lease of the mill in Harrow Lane was signed by Agnes Webb on the third of May. It runs for nine years, and "
    "the rent is forty crowns a quarter. The brig Petrel left Dundee with a cargo of slate under Edmund Crane."
)


def write_autocompressor(folder: Path) -> Path:
    """Write the checkpoint."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**CONFIG))
        summaries = torch.randn(SUMMARY_LENGTH, HIDDEN_SIZE)
    tensors = {key: tensor.detach().to(torch.bfloat16) for key, tensor in model.state_dict().items()}
    tensors["embed_summary.weight"] = summaries.to(torch.bfloat16)
    weight_map: dict[str, str] = {}
    for shard in range(2):
        name = f"pytorch_model-{shard + 1:05}-of-00002.bin"
        part = OrderedDict(
            (key, tensor) for index, (key, tensor) in enumerate(tensors.items()) if index * 2 // len(tensors) == shard
        )
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2))
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    generation = {"bos_token_id": 1, "do_sample": True, "eos_token_id": 2, "temperature": 0.6, "top_p": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(RECORDS_FOLDER / name, folder / name)
    return folder


def write_adapter(folder: Path, seed: int = 0) -> Path:
    """Write one released adapter."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for layer in range(2):
        for name in ADAPTER_CONFIG["target_modules"]:  # type: ignore[attr-defined]
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{key}.lora_A.weight"] = torch.randn(8, HIDDEN_SIZE, generator=draw).half()
            weights[f"{key}.lora_B.weight"] = torch.randn(HIDDEN_SIZE, 8, generator=draw).half()
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER_CONFIG, indent=2))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


def write_embeddings(path: Path, vectors: dict[str, Tensor]) -> Path:
    """Write an embeddings file."""
    torch.save(vectors, path)
    return path


def write_data(folder: Path) -> dict[str, Path]:
    """Write a question for each of the five sets, in their own formats; returns the files."""
    folder.mkdir(parents=True)
    question, answer = "Who signed the lease?", "Agnes Webb"
    choice = {
        "question": question,
        "question_unique_id": "1_1",
        "options": [answer, "B", "C", "D"],
        "gold_label": 1,
        "difficult": 0,
    }
    quality = {"article_id": "1", "set_unique_id": "1", "title": "Mill", "article": STORY, "questions": [choice]}
    scrolls = {"id": "s1_0", "pid": "s1_0", "input": f"{question}\n\n{STORY}", "output": answer}
    hotpot = {
        "_id": "h1", "question": question, "answer": answer, "supporting_facts": [["Mill", 0]],
        "context": [["Mill", [STORY]]], "type": "bridge", "level": "easy",
    }  # fmt: skip
    files = {name: folder / f"{name}.jsonl" for name in ("qasper", "qmsum", "narrativeqa")}
    for file in files.values():
        file.write_text(json.dumps(scrolls) + "\n")
    files |= {"quality": folder / "quality.dev", "hotpotqa": folder / "hotpotqa.json"}
    files["quality"].write_text(json.dumps(quality) + "\n")
    files["hotpotqa"].write_text(json.dumps([hotpot]))
    return files
