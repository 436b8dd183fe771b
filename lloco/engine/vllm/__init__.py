"""The engine that runs on vLLM, in this process or in a server."""
