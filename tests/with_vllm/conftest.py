"""These tests run where vLLM is installed (`make test-vllm`) and are not collected elsewhere."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("vllm") else ["*"]
