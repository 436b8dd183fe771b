"""Which lloco this is, for messages and for the record beside results."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version of the installed package, or say that it runs from a source tree."""
    try:
        return version("lloco")
    except PackageNotFoundError:
        return "not installed"
