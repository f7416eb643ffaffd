"""Label files: all dialects give the same labels, and unreadable files raise errors with advice."""

import io
import json
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noisyjax.data import label_file, match
from noisyjax.data.column import column_of
from noisyjax.system import storage
from noisyjax.system.errors import UserError

NAMES = [f'{i:03d}.png' for i in range(6)]
LABELS = ['cat', 'dog', 'owl', 'cat', 'dog', 'owl']


def rows(form: str, names=NAMES, labels=LABELS) -> str:
  return ''.join(form.format(a, b) + '\n' for a, b in zip(names, labels))


def table(**columns) -> bytes:
  buffer = io.BytesIO()
  pq.write_table(pa.table(columns), buffer)
  return buffer.getvalue()


def labels_in(path, content, names=NAMES, **columns) -> list:
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return match.aligned(label_file.read_column(path, **columns), names, 'photos').labels


CSV = 'image,label\n' + rows('{},{}')
TASKS = [
  {
    'id': i,
    'data': {'image': f'/data/upload/3/{i:08x}-{a}'},
    'annotations': [{'result': [{'type': 'choices', 'value': {'choices': [b]}}]}],
  }
  for i, (a, b) in enumerate(zip(NAMES, LABELS))
]
COCO = {
  'images': [{'id': 100 + i, 'file_name': f'images/{a}'} for i, a in enumerate(NAMES)],
  'annotations': [{'id': i, 'image_id': 105 - i, 'category_id': ord(LABELS[5 - i][0]) - 98} for i in range(6)],
  'categories': [{'id': ord(name[0]) - 98, 'name': name} for name in ('owl', 'dog', 'cat')],
}


def via(attributes):
  """Returns an export of VIA, whose keys are name and size of a file."""
  files = zip(NAMES, attributes)
  return {f'{a}12345': {'filename': a, 'size': 12345, 'regions': [], 'file_attributes': own} for a, own in files}


FILES = {
  'comma.csv': CSV,
  'semicolon of Excel.csv': CSV.replace(',', ';').replace('\n', '\r\n').encode('utf-8-sig'),
  'separator named for Excel.csv': 'sep=;\n' + CSV.replace(',', ';'),
  'tab.tsv': CSV.replace(',', '\t'),
  'bar.txt': CSV.replace(',', '|'),
  'utf16.csv': CSV.encode('utf-16'),
  'utf16 big endian.csv': b'\xfe\xff' + CSV.encode('utf-16-be'),
  'utf16 without a mark.csv': CSV.encode('utf-16-le'),
  'old mac.csv': CSV.replace('\n', '\r'),
  'quoted.csv': '"image","label"\n' + rows('"{}","{}"'),
  'quoted after a space.csv': '"image", "label"\n' + rows('"{}", "{}"') + '  \n',
  'single quotes.csv': "'image','label'\n" + rows("'{}','{}'"),
  'ids without header.txt': ''.join(f'{a[:-4]} {b}\n' for a, b in zip(NAMES, LABELS)),
  'ids and header.txt': 'id  label\n' + ''.join(f'{a[:-4]}  {b}\n' for a, b in zip(NAMES, LABELS)),
  'label and path.txt': ''.join(f'{b}   photos/{a}\n' for a, b in zip(NAMES, LABELS)),
  'ids beside the files.csv': 'id,photo_name,label\n'
  + ''.join(f'{5 - i},{a},{b}\n' for i, (a, b) in enumerate(zip(NAMES, LABELS))),
  'pandas series.csv': ',0\n' + rows('{},{}', range(6)),
  'pandas series with a name.csv': ',animal\n' + rows('{},{}', range(6)),
  'true labels beside.csv': 'image,true_label,label\n' + rows('{},owl,{}'),
  'reversed.csv': 'label,image\n' + ''.join(f'{b},{a}\n' for a, b in zip(NAMES, LABELS)),
  'no header.csv': rows('{},{}'),
  'no header, label first.csv': rows('{1},{0}'),
  'pandas.csv': ',filename,class\n' + ''.join(f'{i},{a},{b}\n' for i, (a, b) in enumerate(zip(NAMES, LABELS))),
  'pandas with the names as index.csv': ',label\n' + rows('{},{}'),
  'blank lines.csv': CSV.replace('001', '\n\n001') + '\n\n',
  'trailing commas.csv': 'image,label\n' + rows('{},{},,'),
  'trailing commas everywhere.csv': 'image,label,,\n' + rows('{},{},,') + ',,,\n',
  'repeated.csv': CSV + '003.png,cat\n',
  'spaces.csv': ' image , label \n' + rows(' {} ,  {} '),
  'unknown names.csv': 'photo_name,kind\n' + rows('{},{}'),
  'list.txt': rows('images/{} {}'),
  'windows.csv': 'image,label\n' + rows('C:\\Users\\me\\photos\\{},{}'),
  'backslash.csv': 'image,label\n' + rows('images\\{},{}'),
  'dot.csv': 'path,label\n' + rows('./images/{},{}'),
  'absolute.csv': 'path,label\n' + rows('/home/me/photos/{},{}'),
  'address.csv': 'url,label\n' + rows('https://host/a%20b/{}?x=1,{}'),
  'stem.csv': 'Id,label\n' + ''.join(f'{a[:-4]},{b}\n' for a, b in zip(NAMES, LABELS)),
  'number.csv': 'id,label\n' + ''.join(f'{i},{b}\n' for i, b in enumerate(LABELS)),
  'float number.csv': 'id,label\n' + ''.join(f'{i}.0,{b}\n' for i, b in enumerate(LABELS)),
  'case.csv': CSV.replace('.png', '.PNG'),
  'suffix.csv': CSV.replace('.png', '.jpg'),
  'one-hot.csv': 'image,cat,dog,owl\n'
  + ''.join(
    f'{a},' + ','.join(str(float(b == c)) for c in ('cat', 'dog', 'owl')) + '\n' for a, b in zip(NAMES, LABELS)
  ),
  'one-hot of a spreadsheet.csv': 'image,cat,dog,owl\n'
  + ''.join(
    f'{a},' + ','.join(str(b == c).upper() for c in ('cat', 'dog', 'owl')) + '\n' for a, b in zip(NAMES, LABELS)
  ),
  'marks of a spreadsheet.csv': 'image;cat;dog;owl\n'
  + ''.join(
    f'{a};' + ';'.join('x' if b == c else '' for c in ('cat', 'dog', 'owl')) + '\n' for a, b in zip(NAMES, LABELS)
  ),
  'yes and no.csv': 'image,cat,dog,owl\n'
  + ''.join(
    f'{a},' + ','.join('Yes' if b == c else 'No' for c in ('cat', 'dog', 'owl')) + '\n' for a, b in zip(NAMES, LABELS)
  ),
  'label studio.csv': 'annotation_id,annotator,choice,created_at,id,image,lead_time\n'
  + ''.join(
    f'{i},1,{b},2024-02-08T10:00:00Z,{i},/data/upload/3/{i:08x}-{NAMES[i]},2.5\n' for i, b in enumerate(LABELS)
  ),
  'label studio, local.csv': 'image,choice\n' + rows('/data/local-files/?d=photos/{},{}'),
  'label studio.json': json.dumps(TASKS),
  'coco.json': json.dumps(COCO),
  'coco, objects of one class.json': json.dumps(COCO | {'annotations': COCO['annotations'] * 2}),
  'fiftyone.json': json.dumps(
    {
      'classes': ['owl', 'cat', 'dog'],
      'labels': {a[:-4]: ['owl', 'cat', 'dog'].index(b) for a, b in zip(NAMES, LABELS)},
    }
  ),
  'fiftyone, with confidence.json': json.dumps(
    {'classes': ['cat', 'dog'], 'labels': {a: {'label': b, 'confidence': 0.5} for a, b in zip(NAMES, LABELS)}}
  ),
  'mmpretrain.json': json.dumps(
    {
      'metainfo': {'classes': ['owl', 'cat', 'dog']},
      'data_list': [{'img_path': a, 'gt_label': ['owl', 'cat', 'dog'].index(b)} for a, b in zip(NAMES, LABELS)],
    }
  ),
  'mmpretrain, by name.json': json.dumps(
    {'metainfo': {'classes': {}}, 'data_list': [{'img_path': a, 'gt_label': b} for a, b in zip(NAMES, LABELS)]}
  ),
  'via.json': json.dumps(via({'animal': b} for b in LABELS)),
  'via, project and ticks.json': json.dumps(
    {
      '_via_settings': {'ui': {}},
      '_via_img_metadata': via({'animal': {b: True, 'bat': False}} for b in LABELS),
      '_via_attributes': {},
    }
  ),
  'arrows.txt': rows('{} -> {}'),
  'colons.txt': rows('{} : {}'),
  'label studio, minimal.json': json.dumps(
    [{'image': f'/data/upload/1/{i:08x}-{a}', 'id': i, 'choice': b} for i, (a, b) in enumerate(zip(NAMES, LABELS))]
  ),
  'metadata.jsonl': ''.join(json.dumps({'file_name': a, 'label': b}) + '\n' for a, b in zip(NAMES, LABELS)),
  'records.json': json.dumps([{'file_name': a, 'label': b} for a, b in zip(NAMES, LABELS)], indent=1),
  'columns.json': json.dumps({'image': NAMES, 'label': LABELS}),
  'pairs.json': json.dumps(dict(zip(NAMES, LABELS))),
  'labels.json': json.dumps(LABELS),
  'lists of pairs.json': json.dumps(list(zip(NAMES, LABELS))),
  'dataset of stylegan.json': json.dumps({'labels': list(zip(NAMES, LABELS))}),
  'records under a key.json': json.dumps({'data': [{'file_name': a, 'label': b} for a, b in zip(NAMES, LABELS)]}),
  'lists by image.json': json.dumps({a: [b] for a, b in zip(NAMES, LABELS)}),
  'pandas, split.json': json.dumps(
    {'columns': ['image', 'label'], 'index': [0] * 6, 'data': [list(pair) for pair in zip(NAMES, LABELS)]}
  ),
  'pandas, table.json': json.dumps(
    {'schema': {'fields': []}, 'data': [{'image': a, 'label': b} for a, b in zip(NAMES, LABELS)]}
  ),
  'ids.json': json.dumps({a[:-4]: {'label': b} for a, b in zip(NAMES, LABELS)}),
  'pandas.json': json.dumps({'image': dict(enumerate(NAMES)), 'label': dict(enumerate(LABELS))}),
  'labels.parquet': table(image=NAMES, label=LABELS),
  'hugging face.parquet': table(image=[{'path': a, 'bytes': b''} for a in NAMES], label=LABELS),
  'issues.csv': 'file,given,suggested,score,flagged\n' + rows('{},{},owl,0.5,1'),
  'names alone.csv': '\n'.join(LABELS),
  'names alone with header.csv': 'label\n' + '\n'.join(LABELS),
}


@pytest.mark.parametrize('name', FILES)
def test_every_common_file_gives_the_same_labels(tmp_path, name):
  assert labels_in(tmp_path / name, FILES[name]) == LABELS


@pytest.mark.parametrize(
  'header', ['image', 'file', 'filename', 'File Name', 'file_name', 'path', 'image_id', 'ID', 'img']
)
@pytest.mark.parametrize('label', ['label', 'class', 'Category', 'target', 'y', 'choice'])
def test_common_names_of_columns(tmp_path, header, label):
  content = f'{header},split,{label}\n' + rows('{},train,{}')
  assert labels_in(tmp_path / 'a.csv', content) == LABELS


@pytest.mark.parametrize('head', ['image label', 'path   class', '', 'file_name target\n'])
def test_lines_of_path_and_label_may_have_a_header(tmp_path, head):
  (tmp_path / 'list.txt').write_text(f'{head}\nphotos/a b.jpg cat\nphotos/c.png red dog\n')
  found = label_file.read_column(tmp_path / 'list.txt')
  assert found.images == ['photos/a b.jpg', 'photos/c.png'] and found.labels == ['cat', 'red dog']


@pytest.mark.parametrize('cell', ["'-1", "'tis", "''", "'", "'5", "'cat'"])
def test_an_apostrophe_that_no_writer_of_ours_put_before_a_label_stays(tmp_path, cell):
  (tmp_path / 'a.csv').write_text(f'image,label\na.png,{cell}\nb.png,"=x"\n')
  assert label_file.read_column(tmp_path / 'a.csv').labels == [cell, '=x']
  (tmp_path / 'b.csv').write_text(storage.csv_text([['image', 'label'], ['a.png', cell], ['b.png', '=x']]))
  assert label_file.read_column(tmp_path / 'b.csv').labels == [cell, '=x']


@pytest.mark.parametrize(
  'text',
  [
    '{"cat": ["a.png", "c.png"], "dog": ["b.jpg"]}',
    '{"a.png": {"label": "cat", "by": 1}, "b.jpg": {"label": "dog"}, "c.png": {"label": "cat"}}',
    '\u200bimage,label\na.png,\u200bcat\nb.jpg,dog\u200e\nc.png,\ufeff cat\n',
  ],
)
def test_images_by_class_and_invisible_characters(tmp_path, text):
  (tmp_path / 'l').write_text(text)
  found = label_file.read_column(tmp_path / 'l')
  assert dict(zip(found.images or (), found.labels)) == {'a.png': 'cat', 'b.jpg': 'dog', 'c.png': 'cat'}


def test_columns_may_be_named(tmp_path):
  content = 'where,label,what\n' + ''.join(f'{a},train,{b}\n' for a, b in zip(NAMES, LABELS))
  assert labels_in(tmp_path / 'a.csv', content, image_column='Where', label_column='what') == LABELS
  with pytest.raises(
    UserError, match=r"has no columns 'kind' \(data.label_column\); its columns are where, label, what"
  ):
    labels_in(tmp_path / 'a.csv', content, label_column='kind')
  content = 'a,b,c\n' + rows('{},x,{}')
  with pytest.raises(
    UserError, match=r'of its columns is the label\? They are a, b, c;.*--config.data.label_column=NAME'
  ):
    labels_in(tmp_path / 'a.csv', content, image_column='a')


KINDS = 'image,label,true_label,x\n' + ''.join(f'{a},{b},owl,1\n' for a, b in zip(NAMES, LABELS))


def test_one_file_may_hold_given_and_true_labels(tmp_path):
  assert labels_in(tmp_path / 'a.csv', KINDS) == LABELS
  assert labels_in(tmp_path / 'a.csv', KINDS, kind='truth') == ['owl'] * 6
  assert labels_in(tmp_path / 'a.csv', KINDS, kind='verified') == ['owl'] * 6
  assert labels_in(tmp_path / 'a.csv', KINDS, kind='truth', label_column='label') == ['owl'] * 6
  named = KINDS.replace('label,', 'noisy,', 1)
  assert labels_in(tmp_path / 'a.csv', named, label_column='noisy') == LABELS
  assert labels_in(tmp_path / 'a.csv', named, kind='truth', label_column='noisy') == ['owl'] * 6
  assert labels_in(tmp_path / 'a.csv', CSV, kind='truth', label_column='noisy') == LABELS  # a file of its own
  np.savez(tmp_path / 'a.npz', labels=LABELS, true_labels=[0] * 6, gt=['owl'] * 6)
  assert label_file.read_column(tmp_path / 'a.npz').labels == LABELS
  assert label_file.read_column(tmp_path / 'a.npz', kind='truth').labels == ['owl'] * 6
  np.savez(tmp_path / 'a.npz', labels=LABELS[::-1], filenames=NAMES[::-1])
  assert match.aligned(label_file.read_column(tmp_path / 'a.npz'), NAMES, '').labels == LABELS
  with pytest.raises(UserError, match=r'which of its columns is the label\? They are image, noisy, true'):
    labels_in(tmp_path / 'a.csv', 'image,noisy,true\n' + rows('{},1,0'))  # no one-hot columns, either


@pytest.mark.parametrize(
  ('column', 'cells', 'shown'),
  [
    ('split', ('train', 'Test'), 'train 2, Test 1'),
    ('Usage', ('Training', 'PublicTest'), 'Training 2, PublicTest 1'),
    ('phase', ('train_set', 'dev'), 'train_set 2, dev 1'),
    ('is_valid', ('False', 'True'), 'False 2, True 1'),
    ('partition', ('0', '2'), '0 2, 2 1'),
    ('is test', ('', 'x'), 'empty 2, x 1'),
  ],
)
def test_a_column_of_parts_is_noted(tmp_path, column, cells, shown):
  head = f'image,label,{column}\na.png,x,{cells[0]}\nb.png,y,{cells[0]}\nc.png,y,'
  (tmp_path / 'a.csv').write_text(head + cells[1])
  (note,) = label_file.read_column(tmp_path / 'a.csv').notes
  assert f'its column {column!r} ({shown}) is not read' in note and 'data.test=@FILE' in note
  (tmp_path / 'a.csv').write_text(head + cells[0])
  assert label_file.read_column(tmp_path / 'a.csv').notes == ()  # one part alone
  (tmp_path / 'a.csv').write_text('image,label,subset\na.png,x,A\nb.png,y,B\n')
  assert label_file.read_column(tmp_path / 'a.csv').notes == ()  # no words of parts


def test_a_list_of_numbers_is_read_with_or_without_header(tmp_path):
  numbers = '\n'.join(map(str, [0, 1, 2, 0, 1, 2]))
  for content in (
    numbers,
    f'label\n{numbers}',
    f'species\n{numbers}',
    numbers.replace('\n', '.0\n'),
    f',label\n{rows("{},{}", range(6), [0, 1, 2, 0, 1, 2])}',
  ):
    found = labels_in(tmp_path / 'a.csv', content)
    assert [label[0] for label in found] == list('012012')


def test_a_word_that_is_also_a_label_is_no_header(tmp_path):
  assert labels_in(tmp_path / 'a.csv', 'true\nfalse\ntrue\n', NAMES[:3]) == ['true', 'false', 'true']
  assert labels_in(tmp_path / 'a.csv', '000,y\n001,n\n002,y\n', NAMES[:3]) == ['y', 'n', 'y']


def test_hugging_face_stores_class_names_beside_their_numbers(tmp_path):
  features = {'info': {'features': {'label': {'names': ['cat', 'dog', 'owl'], '_type': 'ClassLabel'}}}}
  made = pa.table({'file_name': NAMES, 'label': [0, 1, 2, 0, 1, 2]})
  pq.write_table(made.replace_schema_metadata({'huggingface': json.dumps(features)}), tmp_path / 'a.parquet')
  assert match.aligned(label_file.read_column(tmp_path / 'a.parquet'), NAMES, '').labels == LABELS


def test_an_empty_cell_is_no_label_and_a_task_without_annotation_too(tmp_path):
  assert labels_in(tmp_path / 'a.csv', CSV.replace(',owl', ','))[2] is None
  assert labels_in(tmp_path / 'a.csv', '0\n""\n1\n', NAMES[:3]) == ['0', None, '1']  # as pandas writes one column
  assert labels_in(tmp_path / 'a.json', json.dumps([*TASKS[:5], TASKS[5] | {'annotations': []}]))[5] is None


def test_an_image_of_coco_without_annotation_is_unlabeled(tmp_path):
  text = json.dumps(COCO | {'annotations': COCO['annotations'][1:]})
  assert labels_in(tmp_path / 'a.json', text) == [*LABELS[:5], None]


def test_of_several_questions_of_label_studio_one_is_chosen(tmp_path):
  part = lambda name, choice: {'from_name': name, 'type': 'choices', 'value': {'choices': [choice]}}
  tasks = [
    task | {'annotations': [{'result': [part('animal', label), part('sharp', 'yes')]}]}
    for task, label in zip(TASKS, LABELS)
  ]
  text = json.dumps([*tasks[:5], tasks[5] | {'annotations': []}])
  assert labels_in(tmp_path / 'a.json', text, label_column='animal') == [*LABELS[:5], None]
  with pytest.raises(UserError, match=r'which of its columns is the label\? They are image, animal, sharp;'):
    labels_in(tmp_path / 'a.json', text)


def test_names_of_uploads_to_label_studio_find_their_images():
  names = ['a b (1).png', 'caf\u00e9, x.JPG', 'a_b_2.png', '[3].png']
  rows = [
    f'/data/upload/7/{i:08x}-{name}' for i, name in enumerate(['a_b_1.png', 'caf%C3%A9_x.JPG', 'a_b_2.png', '3.png'])
  ]
  assert aligned(rows, names) == ['0', '1', '2', '3']
  assert aligned(['a_b_1.png', 'a_b_2.png'], names) == [None, None, '1', None]  # not of Label Studio
  with pytest.raises(UserError, match=r'may be a b!.png, a b\+.png; expected its path'):
    aligned(['/data/upload/7/01234567-a_b.png'], ['a b!.png', 'a b+.png', 'x.png'])


@pytest.mark.parametrize('cells', [('yes', 'yes'), ('no', 'no'), ('No', '')])
def test_columns_that_each_answer_yes_or_no_are_no_classes(tmp_path, cells):
  content = 'image,defect,exclude\n' + ''.join(
    f'{a},{"yes,no" if i else ",".join(cells)}\n' for i, a in enumerate(NAMES)
  )
  with pytest.raises(UserError, match=r'which of its columns is the label\? They are image, defect, exclude'):
    labels_in(tmp_path / 'a.csv', content)
  assert labels_in(tmp_path / 'a.csv', content, label_column='defect') == [cells[0], *['yes'] * 5]


def test_an_image_without_a_label_in_row_1_is_no_title(tmp_path):
  with pytest.raises(UserError, match=r"row 2: 'b.png,cat,x'; expected 2 fields as in the first row\.$"):
    labels_in(tmp_path / 'a.csv', 'a.png,\nb.png,cat,x\nc.png,dog\nd.png,dog\n')


def test_columns_of_json_may_be_called_as_those_of_coco(tmp_path):
  text = json.dumps({'images': NAMES, 'annotations': LABELS})
  assert labels_in(tmp_path / 'a.json', text) == LABELS


def test_columns_without_a_mark_are_no_classes(tmp_path):
  with pytest.raises(UserError, match=r'which of its columns is the label\?'):
    labels_in(tmp_path / 'a.csv', 'image,note,comment\n' + rows('{},,'))
  content = 'image,cat,dog\n' + ''.join(f'{a},{"x" if i else ""},\n' for i, a in enumerate(NAMES))
  assert labels_in(tmp_path / 'a.csv', content) == [None, *['cat'] * 5]


def test_a_quoted_label_may_hold_line_breaks_and_quotes(tmp_path):
  text = 'image,label\na.png,"a\nb"\nb.png,"say ""x"""\nc.png,5" disk\n'
  assert labels_in(tmp_path / 'a.csv', text, ['a.png', 'b.png', 'c.png']) == ['a\nb', 'say "x"', '5" disk']


def zipped(name: str) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as archive:
    archive.writestr(name, b'x')
  return buffer.getvalue()


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('a.csv', '', r'is empty \(0 bytes\)'),
    ('a.npy', b'', r'is empty \(0 bytes\); was it downloaded'),
    ('a.csv', 'image,label\n', 'has a header and no rows'),
    ('a.csv', '"', 'has no rows'),
    ('a.csv', CSV.replace(',cat', ',"cat', 1), r'line 2: .000.png,"cat. opens a quote .* not closed'),
    ('a.csv', 'sep=;\n' + CSV.replace(',', ';').replace(';owl', ';"owl', 1), r'line \d: .*"owl. opens a quote'),
    ('a.csv', CSV.replace(',cat', ',"cat', 1).replace(',owl', ',"owl', 1), r'line 2: .000.png,"cat. opens a quote'),
    ('a.csv', CSV + '9.png,"cat', r'line 8: .9.png,"cat. opens a quote'),
    ('a.xlsx', b'PK\x03\x04' + bytes(range(200)), 'is an Excel file.*Save it as CSV'),
    ('a.csv', zipped('xl/workbook.xml'), 'is an Excel file.*Save it as CSV'),
    ('a.xls', b'\xd0\xcf\x11\xe0' + bytes(20), 'is an Excel file; save it as CSV'),
    ('a.pt', zipped('archive/data.pkl'), r'cannot be read as a PyTorch file .* Check that the file is complete'),
    ('labels', zipped('archive/data.pkl'), 'cannot be read as a PyTorch file'),
    ('a.zip', zipped('labels.csv'), 'is a zip; unpack it'),
    ('a.csv.gz', b'\x1f\x8b' + bytes(20), 'is compressed by gzip; unpack it'),
    ('a.csv', CSV.encode() + b'006.png,caf\xe9\n', r'line 8 is not text in UTF-8\. Save the file as UTF-8 \(in Excel'),
    ('a.csv', CSV + '00\x007.png,x\n', r'line 8 holds a NUL'),
    ('a.csv', 'a.png: cat\nb.png: dog\n', "row 1 is 'a.png: cat': names an image, but no label apart from it"),
    ('a.csv', '# mine\nimage,label\na.png,x\nb.png,y\n', "row 1: '# mine'; expected 2 fields as most rows have"),
    ('a.csv', '<!DOCTYPE html><html>Sign in</html>', 'is a web page; download the file itself'),
    ('a.csv', 'version https://git-lfs.github.com/spec/v1\noid', 'is a pointer of Git LFS .*git lfs pull'),
    ('a.csv', CSV.replace('cat', 'cat,x', 1), "row 2: '000.png,cat,x'; expected 2 fields as in the first row"),
    ('a.csv', 'Image-batch,Worker1-id,Work-time-in-seconds\n00000 -- 00009,12,30\n', 'row 1 is .*3 columns, none'),
    ('a.csv', 'image,label,label\na.png,x,y\n', "row 1 has 2 columns 'label'"),
    ('a.jsonl', '{"file_name": "a.png", "label": "x"}\n{"file_name"\n', 'line 2 is not valid JSON'),
    (
      'a.json',
      json.dumps(COCO | {'annotations': [*COCO['annotations'], {'image_id': 100, 'category_id': 2}]}),
      r"COCO file of objects: 1 of 6 images have several classes, such as 'images/000.png' cat, dog; expected one",
    ),
    ('a.json', '{"images": [{"id": 1}], "annotations": []}', "COCO file in which 'file_name' is missing"),
    ('a.json', '{"images": [{"id": []}], "annotations": []}', r'COCO file that cannot be read \(.*\); expected images'),
    ('a.json', json.dumps(COCO | {'annotations': [{'image_id': 7, 'category_id': 2}]}), 'COCO file in which 7 is mis'),
    (
      'a.json',
      json.dumps([TASKS[0] | {'annotations': [{'result': [{'type': 'rectanglelabels', 'value': {'x': 1}}]}]}]),
      'its annotations are rectanglelabels; expected choices',
    ),
    ('a.json', json.dumps(via({} for _ in NAMES)), 'a VIA file without file attributes'),
    ('a.json', '3', 'expected records such as'),
    (
      'a.csv',
      'Table 1\n' + CSV,
      r"row 1: 'Table 1'; expected 2 fields as most rows have. If row 1, .* is a title, delete",
    ),
    (
      'a.csv',
      'Mine,,\nimage,label,note\n' + rows('{},{},'),
      r"row 2: .*; expected 2 fields as most rows have. If row 1, 'Mine', is a title, delete it",
    ),
    ('a.json', '[' * 100_000, 'is nested too deeply|is not valid JSON'),
    (
      'a.json',
      json.dumps([{'image': 'a.png', 'label': ['x', 'y']}]),
      r"record 1 holds \['x', 'y'\]; expected one label",
    ),
    ('a.parquet', b'PAR1' + bytes(30), 'cannot be read as Parquet'),
    ('a.csv', 'image,label\n,x\n', 'row 2 names no image'),
    ('a.npy', b'\x93NUMPY', 'cannot be read as a plain array'),
    ('a.csv', 'image,a,b\nx.png,1,1\n', r'row 2 has 2 ones'),
    ('a.parquet', table(image=[b'\x89PNG' * 99], label=['x']), 'holds .*, which is not UTF-8'),
    ('a.csv', 'image,label\n' + 'x' * 9999 + ',cat\n', r'none of its 1 rows .*x…x+. \(9999 characters\)'),
    ('a.csv', 'id,label\n' + rows('{},{}', range(1, 7)), 'rows are numbered 1 to 6, the images 0 to 5: do these'),
  ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, name, content, message):
  with pytest.raises(UserError, match=message) as caught:
    labels_in(tmp_path / name, content)
  assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
  'name, content',
  [
    ('map.json', '{"000.png": "cat", "001.png": "dog", "000.png": "owl"}'),
    ('lines.jsonl', '{"image": "000.png", "label": "cat", "label": "owl"}\n'),
  ],
)
def test_two_values_for_one_key_of_json_are_refused(tmp_path, name, content):
  (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match="has two values, 'cat' and 'owl'; expected one"):
    label_file.read_column(tmp_path / name)


def test_json_lines_end_at_line_feeds_alone(tmp_path):
  lines = ''.join(
    json.dumps({'image': a, 'label': f'{b}\u2028\x85x'}, ensure_ascii=False) + '\n' for a, b in zip(NAMES, LABELS)
  )
  assert labels_in(tmp_path / 'a.jsonl', lines) == [f'{label}\u2028\x85x' for label in LABELS]


def test_other_columns_of_parquet_may_share_a_name(tmp_path):
  columns = [pa.array([0.5] * 6), pa.array(NAMES), pa.array([0.25] * 6), pa.array(LABELS)]
  pq.write_table(pa.Table.from_arrays(columns, names=['score', 'image', 'score', 'label']), tmp_path / 'a.parquet')
  column = label_file.read_column(tmp_path / 'a.parquet')
  assert (column.images, column.labels) == (NAMES, LABELS)


def test_bytes_that_are_not_utf8_are_refused_and_not_merged(tmp_path):
  np.save(tmp_path / 'a.npy', np.array([b'caf\xe9', b'caf\xe8']))
  with pytest.raises(UserError, match='which is not UTF-8; expected text'):
    label_file.read_column(tmp_path / 'a.npy')


@pytest.mark.parametrize('record, holds', [({'label': '\ud83d'}, 'record 1'), ({'\ud83d': 1, 'b': 0}, 'the name of')])
def test_half_a_character_is_no_label(tmp_path, record, holds):
  (tmp_path / 'a.jsonl').write_text(''.join(json.dumps({'image': name} | record) + '\n' for name in NAMES))
  with pytest.raises(UserError, match=rf"a\.jsonl: {holds}.* holds '\\ud83d', which is not UTF-8; expected text"):
    label_file.read_column(tmp_path / 'a.jsonl')
  with pytest.raises(UserError, match=r"labels: row 1 \(from 0\) holds '\\ud83d'"):
    column_of(['a', '\ud83d'], 'labels')


def test_no_code_in_a_pickle_is_run(tmp_path):
  class Trap:
    def __reduce__(self):
      return (open, (str(tmp_path / 'sprung'), 'w'))

  for name in ('a.npy', 'a.pkl', 'a.csv', 'a.pt'):
    with pytest.raises(UserError):
      labels_in(tmp_path / name, pickle.dumps(Trap()))
  np.save(tmp_path / 'b.npy', np.array([Trap()]), allow_pickle=True)
  with pytest.raises(UserError, match=r'refers to (_io|io)\.open'):
    label_file.read_column(tmp_path / 'b.npy')
  assert not (tmp_path / 'sprung').exists()


# Which image a row means.


def aligned(images, names, labels=None, notes=False):
  column = label_file.Column(
    'a.csv', labels or [str(i) for i in range(len(images))], [f'row {i + 2}' for i in range(len(images))], images
  )
  found = match.aligned(column, names, 'photos')
  return found.notes if notes else found.labels


@pytest.mark.parametrize(
  ('images', 'names', 'expected'),
  [
    (['dog/2.png', 'cat/1.png'], ['cat/1.png', 'dog/2.png'], ['1', '0']),
    (['2.png', '1.png'], ['cat/1.png', 'dog/2.png'], ['1', '0']),  # a shorter path
    (['x/cat/1.png', 'x/dog/1.png'], ['cat/1.png', 'dog/1.png'], ['0', '1']),  # a longer one
    (['cat/2.png', 'dog/1.png', 'dog/2.png'], ['cat/1.png', 'cat/2.png', 'dog/2.png'], [None, '0', '2']),
    (['A', 'b'], ['a.PNG', 'B.jpg'], ['0', '1']),
    (['a.png', 'a.jpg'], ['a.jpg', 'a.png'], ['1', '0']),  # exact names go first
    (['1', '2', '10'], ['0001.png', '0002.png', '0010.png'], ['0', '1', '2']),
    (['x.y', 'z'], ['x.y.png', 'z.png'], ['0', '1']),
    (['../p/caf\u00e9.png', 'b.png'], ['b.png', 'cafe\u0301.png'], ['1', '0']),
  ],
)
def test_a_row_names_its_image(images, names, expected):
  assert aligned(images, names) == expected


def test_what_fits_two_images_fits_none():
  with pytest.raises(UserError, match=r"a.csv: row 2: '0.png' is in 2 folders: a, b; expected its path, such as 'a/0"):
    aligned(['0.png'], ['a/0.png', 'b/0.png'])
  with pytest.raises(UserError, match=r"row 2: '0' may be 0.jpg, 0.png; expected its path"):
    aligned(['0'], ['0.jpg', '0.png'])
  with pytest.raises(UserError, match=r"row 2: '0' is the name of 2 rows; expected names that differ"):
    aligned(['0'], ['0', '0'])


def test_rows_that_fit_nothing_are_noted_unless_none_fits():
  (note,) = aligned(['a.png', 'bat1.png'], ['a.png', 'cat1.png'], notes=True)
  assert (
    "1 of 2 rows names an image that is not in photos; the first is row 3: 'bat1.png'. Did you mean 'cat1.png'?" in note
  )
  with pytest.raises(UserError, match=r"none of its 2 rows names an image in photos: row 2 names 'x1', .* 'cat1.png'"):
    aligned(['x1', 'x2'], ['cat1.png', 'cat2.png'])


def test_what_was_not_regarded_is_said():
  prefix, zeros = "case, suffix and the prefix of Label Studio's uploads", 'case, suffix and the zeros before a number'
  for image, name, what in (
    ('A.PNG', 'a.png', 'case'),
    ('a', 'a.png', 'case and suffix'),
    ('0000abcd-a.jpg', 'a.png', prefix),
    ('1', '01.png', zeros),
  ):
    (note,) = aligned([image], [name], notes=True)
    assert f"1 rows match an image ignoring {what}, such as '{image}' for '{name}'" in note
  assert aligned(['a.png'], ['a.png'], notes=True) == ()


def test_rows_of_another_folder_are_noted_and_label_no_image_that_has_a_row_of_its_own():
  images, names = ['train/1.png', 'train/2.png', 'test/1.png'], ['1.png', '2.png']
  column = label_file.Column('a.csv', ['x', 'y', 'z'], ['row 2', 'row 3', 'row 4'], images)
  found = match.aligned(column, names, 'data/train')
  assert found.labels == ['x', 'y'] and '1 of 3 rows names an image that is not in data/train' in found.notes[0]
  (note,) = match.aligned(column.take([2]), names, 'data/train').notes
  assert "1 rows match an image ignoring the folders before it, such as 'test/1.png' for '1.png'" in note
  assert match.aligned(column.take([0, 1]), names, 'data/train.zip').notes == ()


def test_repeats_are_noted_and_conflicts_refused():
  assert aligned(['a.png', 'a.png'], ['a.png'], ['x', 'x'], notes=True) == (
    'a.csv: 1 rows repeat another, the first is row 3.',
  )
  with pytest.raises(UserError, match=r"row 2 \('x'\) and row 3 \('y'\) both label the image a.png"):
    aligned(['a.png', 'A.PNG'], ['a.png'], ['x', 'y'])


@pytest.mark.parametrize(
  ('names', 'what'),
  [
    (['cat-2/0.png', 'cat/0.png'], 'folder by folder'),
    (['B.png', 'a.png'], 'without regard to case'),
    (['10.png', '2.png'], 'by number'),
    (['a/1.png', 'b.png'], 'files before folders'),
    (['1\u00b22.png', '10.png', '2.png'], 'by number'),
  ],
)
def test_rows_without_names_need_an_order_with_one_meaning(names, what):
  column = label_file.Column('a.csv', ['0'] * len(names), [f'row {i + 1}' for i in range(len(names))])
  with pytest.raises(UserError, match=rf"sorting the images as text or {what} differs.*header 'image,label'"):
    match.aligned(column, sorted(names), 'photos')


def test_rows_without_names_must_be_as_many_as_the_images():
  column = label_file.Column('a.csv', ['kind', 'x', 'y'], ['row 1', 'row 2', 'row 3'])
  with pytest.raises(UserError, match=r"3 labels for the 2 images.*If row 1, 'kind', is a header"):
    match.aligned(column, ['0.png', '1.png'], 'photos')
  names = [f'{i}.png' for i in range(5)]
  assert match.aligned(column, names, 'photos', part=True).labels == ['kind', 'x', 'y', None, None]
