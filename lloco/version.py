"""Which lloco this is: the one place that says so, for the package's build, messages and the record beside results."""

__version__ = "0.1.0"
