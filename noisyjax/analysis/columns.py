"""The columns of an analysis: RUN/analysis/<checkpoint>.parquet, a row for each training and validation row of a run.

Test rows and true labels are never among them. Every file has all columns, in this order; a column that was not asked
for, or that the run did not record, holds nulls alone. `given` and `verified` are −1 where there is no label, as
everywhere in the program; all other values are null where they are not known, never a placeholder.

Evidence is in-sample if the networks were trained on the row itself, or on an exact copy: `in_sample` says so of the
columns from `predicted` to `loss` and of the dynamics; the columns that begin with `oof_`, `quality_` and `issue_` are
always out-of-fold. Of neighbours, duplicates, outliers, clusters and maps, the summary's `embedding` says whether the
embedding was learned from the labels of these rows ("learned": in-sample evidence) or from other data ("pretrained").

Beside the Parquet file, with the same rows in the same order (n rows, C classes, F embedding numbers, k neighbours):

  <checkpoint>.probs.npy        float32 [n, C], probabilities of the checkpoint
  <checkpoint>.oof.npy          float32 [n, C], out-of-fold probabilities; NaN in rows without; only if asked for
  <checkpoint>.embeddings.npy   float32 [n, F], the penultimate layer of the checkpoint's networks, one after another
  <checkpoint>.features.npy     float32 [n, F], the pretrained features that the run was trained on, if it was
  <checkpoint>.neighbours.npy   int32 [n, k], rows of this table, the nearest first
  <checkpoint>.json             the summary, see `analyze`; written last: without it, the analysis is not finished
"""

from typing import NamedTuple

from noisyjax.estimate import confident


class Column(NamedTuple):
  """A column.

  Attributes:
    dtype: its type: int64, int32, float32, bool or str.
    meaning: what it holds, with its unit.
    null: where it is null; '' = nowhere.
  """

  dtype: str
  meaning: str
  null: str = ''


_NO_LABEL = 'rows without a given label'
_NO_DYNAMICS = 'validation rows; rows that were never visited with a label; runs that recorded no dynamics'
_NO_EMBEDDING = 'where the model has no embedding'
_NO_FOLDS = 'validation rows; dropped and held rows; everywhere without --folds'
_NO_FOLDS_OR_LABEL = f'{_NO_LABEL}; {_NO_FOLDS}'

COLUMNS = {
  # Which row.
  'row': Column('int64', 'number of the row in the data set of the run'),
  'id': Column('str', 'id of the row in label tables: sha256 of the file, see `data.row_ids`'),
  'digest': Column('str', 'id of the row in samples.parquet: sha256 of the decoded pixels, "-k" behind copies'),
  'name': Column('str', 'name of the file, or of the row in its source'),
  'split': Column('str', '"train" or "val"'),
  'status': Column('str', '"labeled", "unlabeled", "dropped" or "held"'),
  'weight': Column('float32', 'weight in the losses; 0 for dropped and held rows'),
  'given': Column('int32', 'given label, a class; −1 = none'),
  'verified': Column('int32', 'verified label, a class; −1 = not verified'),
  # What the networks of the checkpoint predict, without augmentation.
  'predicted': Column('int32', 'most probable class'),
  'second': Column('int32', 'second most probable class'),
  'confidence': Column('float32', 'probability of the predicted class, 0–1'),
  'margin': Column('float32', 'probability of the given label minus the largest other one, −1–1', _NO_LABEL),
  'entropy': Column('float32', 'entropy of the probabilities, in nats'),
  'loss': Column('float32', 'cross-entropy of the given label, in nats', _NO_LABEL),
  'in_sample': Column('bool', 'whether the networks were trained on the row, or on an exact copy of it'),
  # Training dynamics over the visits of the last phase in which the row had a label, averaged over networks.
  'visits': Column('int32', 'visits of one network, rounded', _NO_DYNAMICS),
  'aum': Column('float32', 'area under the margin: mean over visits of label logit minus largest other', _NO_DYNAMICS),
  'forgotten': Column(
    'float32', 'forgetting events of one network: correct, and wrong at the next visit', _NO_DYNAMICS
  ),
  'learned': Column(
    'float32', 'visit, from 1, at which the row was first predicted correctly', f'{_NO_DYNAMICS}; not learned'
  ),
  'confidence_mean': Column('float32', 'mean over visits of the probability of the label', _NO_DYNAMICS),
  'confidence_std': Column('float32', 'standard deviation of the same, over visits and networks', _NO_DYNAMICS),
  # Neighbours in the embedding by cosine distance. Labels are given labels; of neighbours, those of training rows.
  'knn_agreement': Column(
    'float32',
    'share of the labeled neighbours with the given label of the row',
    f'{_NO_LABEL}; no labeled neighbour; {_NO_EMBEDDING}',
  ),
  'knn_predicted': Column(
    'float32',
    'share of the labeled neighbours with the predicted label of the row',
    f'no labeled neighbour; {_NO_EMBEDDING}',
  ),
  'knn_label': Column('int32', 'most frequent given label of the neighbours', f'no labeled neighbour; {_NO_EMBEDDING}'),
  'knn_share': Column(
    'float32', 'share of the labeled neighbours with `knn_label`', f'no labeled neighbour; {_NO_EMBEDDING}'
  ),
  'knn_distance': Column('float32', 'mean cosine distance to the neighbours, 0–2', _NO_EMBEDDING),
  'outlier': Column(
    'float32',
    '`knn_distance` over its median in the class (given, of training rows, or else predicted); 1 = usual',
    _NO_EMBEDDING,
  ),
  # Near duplicates: equal pixels, nearly equal dHash, or nearly equal features of a network trained on other data.
  'duplicate_group': Column('int32', 'number of the group: its first row in this table', 'rows without a duplicate'),
  'duplicate_kind': Column(
    'str', 'closest kind of duplicate that the row has: "exact", "hash", "embedding"', 'rows without a duplicate'
  ),
  'duplicate_conflict': Column('bool', 'whether the group holds different given labels'),
  'duplicate_crosses': Column('bool', 'whether the group holds rows of different splits'),
  # Clusters and maps of the embedding.
  'cluster': Column('int32', 'cluster by k-means, the largest is 0', _NO_EMBEDDING),
  'density_cluster': Column('int32', 'cluster by HDBSCAN, the largest is 0', f'{_NO_EMBEDDING}; in no cluster'),
  'pca_x': Column('float32', 'first principal component', _NO_EMBEDDING),
  'pca_y': Column('float32', 'second principal component', _NO_EMBEDDING),
  'map_x': Column('float32', 'map by PaCMAP or LocalMAP', f'{_NO_EMBEDDING}; everywhere without --map'),
  'map_y': Column('float32', 'map by PaCMAP or LocalMAP', f'{_NO_EMBEDDING}; everywhere without --map'),
  # Out-of-fold: predicted by networks that were trained without the row and its near duplicates.
  'fold': Column('int32', 'fold that held the row out, from 0', _NO_FOLDS),
  'oof_predicted': Column('int32', 'most probable class', _NO_FOLDS),
  'oof_second': Column('int32', 'second most probable class', _NO_FOLDS),
  'oof_confidence': Column('float32', 'probability of the predicted class, 0–1', _NO_FOLDS),
  'oof_margin': Column('float32', 'probability of the given label minus the largest other one', _NO_FOLDS_OR_LABEL),
  'oof_entropy': Column('float32', 'entropy of the probabilities, in nats', _NO_FOLDS),
  'oof_loss': Column('float32', 'cross-entropy of the given label, in nats', _NO_FOLDS_OR_LABEL),
  # Confident learning on the out-of-fold probabilities.
  **{
    f'quality_{name}': Column('float32', f'quality of the label by {name}, 0 bad to 1 good', _NO_FOLDS_OR_LABEL)
    for name in ('self_confidence', 'normalized_margin', 'confidence_weighted_entropy')
  },
  **{
    f'issue_{name}': Column('bool', f'whether {name} flags the label as wrong', _NO_FOLDS_OR_LABEL)
    for name in confident.FILTERS
  },
}
