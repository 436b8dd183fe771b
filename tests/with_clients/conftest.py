"""These run where LangChain and LlamaIndex are installed (`make test-clients`) and are not collected elsewhere."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("langchain_openai") and find_spec("llama_index") else ["*"]
