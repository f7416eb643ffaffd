"""The views and the counted noise of full recipes are those of the official code; docs/faithfulness.md says where."""

import importlib
from pathlib import Path

import pytest

from configs.recipes import common

RECIPES = sorted(p.stem for p in Path(common.__file__).parent.glob('*.py') if p.stem not in ('__init__', 'common'))
CROP = ('crop', 'flip')
REFLECT = ('reflect_crop', 'flip')
USB = (REFLECT, (*REFLECT, 'rand_augment', 'random_cutout'))
# weak, and strong where the strategy has such a view
VIEWS = {
  'fixmatch': USB,
  'flexmatch': USB,
  'mixmatch': (REFLECT, None),
  'posterior_match': USB,
  'promix': (('flip', 'crop'), ('rand_augment', 'random_cutout', 'flip', 'crop')),
  'sop_plus': (CROP, ('auto_augment', 'crop', 'flip', 'cutout')),
  'ssr_plus': (CROP, ('crop', 'flip', 'signed_auto_augment')),
  'meta_weight_net': (REFLECT, None),
  'co_teaching': ((), None),
  'co_teaching_plus': ((), None),
  'jocor': ((), None),
}
# the draws of RandAugment, its magnitude and probability, and the border of crops of 32 pixels
STRENGTHS = {'draws': 3, 'magnitude': 10.0, 'probability': 1.0, 'cutout': 0.5, 'pad': 0.125}

ROWS, CLASSES, EACH = 'exact', 'per_class', 'independent'
# symmetric and asymmetric noise on CIFAR-10, then on CIFAR-100
COUNTS = {
  **dict.fromkeys(('divide_mix', 'promix', 'ssr_plus', 'l2rw'), (ROWS, ROWS, ROWS, ROWS)),
  **dict.fromkeys(('elr', 'elr_plus', 'sop', 'sop_plus'), (ROWS, CLASSES, ROWS, EACH)),
  **dict.fromkeys(('sce', 'active_passive'), (CLASSES, CLASSES, CLASSES, EACH)),
}


def get(name, form):
  return importlib.import_module(f'configs.recipes.{name}').get_config(form)


@pytest.mark.parametrize('form', ['sym50', 'c100-sym50', 'worse'])
@pytest.mark.parametrize('name', RECIPES)
def test_a_full_recipe_has_the_official_views(name, form):
  augment = get(name, form).augment
  weak, strong = VIEWS.get(name, (CROP, None))
  if form == 'c100-sym50' and name in ('active_passive', 'sce'):
    weak = (*CROP, 'rotate')
    assert augment.rotation == 20.0
  assert augment.weak == weak
  assert strong is None or augment.strong == strong
  assert {field: augment[field] for field in STRENGTHS} == STRENGTHS | ({'pad': 2} if name == 'l2rw' else {})


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_counts_noisy_rows_as_the_official_code_does(name):
  forms = ('sym50', 'asym40', 'c100-sym50', 'c100-asym40')
  assert tuple(get(name, form).noise.count for form in forms) == COUNTS.get(name, (EACH,) * 4)
  for form in ('worse', 'inst40', 'clean', 'c100-noisy'):
    assert get(name, form).noise.count == EACH
