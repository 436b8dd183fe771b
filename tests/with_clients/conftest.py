"""These run where LangChain, LlamaIndex and the agents package are installed (`make test-clients`), not elsewhere."""

from importlib.util import find_spec

collect_ignore_glob = [] if all(map(find_spec, ("langchain_openai", "llama_index", "agents"))) else ["*"]
