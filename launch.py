#!/usr/bin/env python3
"""Runs a noisyjax command from a checkout: python launch.py train --config=configs/digits.py --workdir=runs/digits."""

from noisyjax.__main__ import main

if __name__ == '__main__':
  main()
