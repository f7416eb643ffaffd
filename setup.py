"""What pyproject.toml cannot say: the recipes of configs/ ship inside the package, as noisyjax.recipes."""

from setuptools import find_packages, setup

recipes = [name.replace('configs', 'noisyjax.recipes', 1) for name in find_packages(include=['configs*'])]
setup(packages=[*find_packages(include=['noisyjax*']), *recipes], package_dir={'noisyjax.recipes': 'configs'})
