"""Average the weights of compressors of one recipe, a soup of them (arXiv 2203.05482): OUT FOLDER FOLDER ...

The folders are deltas that `lloco pretrain --init` wrote, of one base and shape, each gone on from another of them. How
informative tokens are, which is fitted and not learned, is that of the first.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
FITTED = "information"


def main(out: Path, *folders: Path) -> None:
    settings = [json.loads((folder / "lloco_delta.json").read_text()) for folder in folders]
    if any(other != settings[0] for other in settings):
        raise SystemExit("the deltas must be of one base and shape: average those of one recipe")
    tensors = [load_file(folder / WEIGHTS) for folder in folders]
    averaged = {
        name: first
        if name.endswith(FITTED)
        else torch.stack([own[name].float() for own in tensors]).mean(dim=0).to(first.dtype)
        for name, first in tensors[0].items()
    }
    with safe_open(folders[0] / WEIGHTS, "pt") as file:
        metadata = file.metadata()
    shutil.copytree(folders[0], out)
    save_file(averaged, out / WEIGHTS, metadata=metadata)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
