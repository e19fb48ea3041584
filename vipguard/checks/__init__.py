"""The questions asked of the evidence, one module each; `writer` makes of the answers the verdict.

Every check is a pure function `check(sight, thresholds) -> Finding`. `CHECKS` names them for the command line.
"""
