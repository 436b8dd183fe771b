"""`python -m lloco`, which launchers of several processes want."""

import sys

from lloco.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
