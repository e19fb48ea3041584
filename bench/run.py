"""The program behind `make bench`. `python -P bench/run.py --help`"""

from __future__ import annotations

import sys
from pathlib import Path

# behind the installed packages, so that the installed vipguard is measured
sys.path.append(str(Path(__file__).absolute().parents[1]))

from bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
