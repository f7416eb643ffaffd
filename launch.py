#!/usr/bin/env python3
"""Runs a noisyjax command from a checkout: python launch.py train --config=configs/digits.py --workdir=runs/digits."""

from noisyjax import huge_pages

if __name__ == '__main__':
  huge_pages.ask()

  from noisyjax.cli import run

  run()
