"""Near duplicates: planted copies are found and grouped; conflicts and leaks across splits are named."""

import itertools

import numpy as np
import pytest
from PIL import Image

from noisyjax.analysis import duplicates, neighbours, out_of_fold
from noisyjax.data import decode
from noisyjax.data.images import as_images


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
  """Returns smooth pictures, uint8 [48, 48, 3]."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, (count, 6, 6, 3), np.uint8)
  return [np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BICUBIC)) for image in small]


def test_planted_copies_form_groups():
  images = pictures(20)
  lighter = np.clip(images[3].astype(int) + 9, 0, 255).astype(np.uint8)
  smaller = np.asarray(Image.fromarray(images[7]).resize((40, 40)))
  images += [images[0], lighter, smaller, images[0]]  # rows 20 to 23
  digests = np.array([image.tobytes().hex() for image in images])
  pairs = {'exact': duplicates.exact_pairs(digests), 'hash': duplicates.hash_pairs(duplicates.dhash(images))}
  found = duplicates.grouped(24, pairs)
  groups = {row: int(group) for row, group in enumerate(found.group) if group >= 0}
  assert groups == {0: 0, 20: 0, 23: 0, 3: 3, 21: 3, 7: 7, 22: 7}
  assert [found.kind[row] for row in (0, 20, 23, 3, 21, 7, 22, 1)] == ['exact'] * 3 + ['hash'] * 4 + ['']
  assert len(set(found.together().tolist())) == 20


def test_images_that_look_equal_share_a_fold_where_their_hashes_tell_images_apart(monkeypatch):
  images = pictures(40)
  images[30] = np.clip(images[3].astype(int) + 9, 0, 255).astype(np.uint8)
  images[31] = images[4]
  alike = lambda arrays: duplicates.alike(as_images(np.stack(arrays)), np.array([decode.digest(a) for a in arrays]))
  copies = lambda numbers: [tuple(np.flatnonzero(numbers == n)) for n in np.unique(numbers) if (numbers == n).sum() > 1]
  assert copies(alike(images)) == [(3, 30), (4, 31)]
  assert copies(alike([image[::2, ::2] for image in images])) == [(4, 31)]  # 24 pixels
  flat = [np.full_like(image, 6 * i) for i, image in enumerate(images)]  # all hashes are 0
  assert copies(alike([*flat, flat[5]])) == [(5, 40)]
  monkeypatch.setattr(out_of_fold, 'of_rows', lambda data, groups, *_: [groups])
  assert copies(out_of_fold.out_of_fold(np.stack(images), np.arange(40) % 2, ['a', 'b'])) == [(3, 30), (4, 31)]


@pytest.mark.parametrize('radius', [0, 1, 2, 3])
@pytest.mark.parametrize('spread', [False, True])
def test_hash_pairs_connect_what_all_pairs_connect(radius, spread):
  rng = np.random.default_rng(radius)
  hashes = rng.integers(0, 2**6, 80, np.uint64) << np.uint64(37)  # many are near, many are equal
  if spread:
    hashes = np.repeat(rng.integers(0, 2**64, 20, np.uint64), 4)
    for row, count in enumerate(rng.integers(0, 4, 80)):
      hashes[row] ^= np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, count, np.uint64), initial=np.uint64(0))
  near = [
    p for p in itertools.combinations(range(80), 2) if (int(hashes[p[0]]) ^ int(hashes[p[1]])).bit_count() <= radius
  ]
  expected = duplicates.grouped(80, {'hash': np.array(near, np.int64).reshape(-1, 2)})
  pairs = duplicates.hash_pairs(hashes, radius)
  assert {tuple(sorted(pair)) for pair in pairs.tolist()} <= set(near)
  found = duplicates.grouped(80, {'hash': pairs})
  np.testing.assert_array_equal(found.group, expected.group)
  assert (found.group >= 0).any()


def test_the_hash_is_that_of_the_differences_from_left_to_right():
  row = np.array([0, 1, 1, 5, 4, 9, 9, 2, 3], np.uint8)  # darker than its right neighbour: 1 0 1 0 1 0 0 1
  image = np.repeat(np.tile(row, (8, 1))[..., None], 3, -1)
  assert [f'{int(h):064b}' for h in duplicates.dhash([image])] == ['10101001' * 8]


def test_embeddings_much_closer_than_usual_are_pairs():
  points = np.random.default_rng(0).normal(size=(60, 16))
  points[50] = points[4] + 1e-3
  found = duplicates.embedding_pairs(*neighbours.cosine(points, 5))
  assert sorted(map(tuple, found.tolist())) == [(4, 50), (50, 4)]
  dense = 5 + 1e-2 * np.random.default_rng(1).normal(size=(60, 16))  # a class that a network drew together
  assert not (duplicates.embedding_pairs(*neighbours.cosine(np.concatenate([points, dense]), 5)) >= 60).any()
  equal = np.ones((60, 16))  # a network that tells nothing apart says nothing about duplicates
  assert not len(duplicates.embedding_pairs(*neighbours.cosine(equal, 5)))


def test_conflicts_and_leaks():
  group = np.array([0, 0, 2, 2, 4, 4, -1, -1, 0])
  labels = np.array([1, 1, 0, 1, 0, -1, 0, 1, -1])
  split = np.array(['train', 'train', 'train', 'train', 'train', 'val', 'val', 'train', 'val'])
  assert np.flatnonzero(duplicates.conflicting(group, labels)).tolist() == [2, 3]
  assert np.flatnonzero(duplicates.crossing(group, split)).tolist() == [0, 1, 4, 5, 8]


def test_no_duplicates():
  found = duplicates.grouped(3, {'exact': duplicates.exact_pairs(np.array(['a', 'b', 'c']))})
  assert found.group.tolist() == [-1, -1, -1] and found.kind.tolist() == ['', '', '']
  assert not duplicates.conflicting(found.group, np.array([0, 1, 2])).any()
