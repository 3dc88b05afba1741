"""The 30 ImageNet VID classes in ImageNet DET: each picture is a video of one frame.

    <root>/Data/DET/<picture>.JPEG   <root>/Annotations/DET/<picture>.xml   DET_train_30classes.txt
"""

from ..text_file import read_text
from . import annotation_cache, frame_xml, image_sets
from .imagenet_vid import CLASSES, make_dicts


def load_imagenet_det(root, lists, *, video_index):
    """-> (dataset dicts, metadata), as load_imagenet_vid.

    The list names a picture once for each of its classes (53,639 lines, 53,237 pictures): the repeats stay,
    as extra samples. Objects of the other 170 classes are dropped (background in all published work).
    """
    path = image_sets.find_list(root, lists)
    if path is None:
        raise image_sets.missing_list(root, lists)
    text = read_text(path, expected="a list, one picture a line")
    frames = [image_sets.ListedFrame(f"DET/{fields[0]}", 0, 1, number)
              for number, (_, fields) in enumerate(image_sets.split_lines(text, path, (1, 2)), 1)]
    for frame in frames:
        video_index.add(frame.video_id, [f"{root}/Data/{frame.video_id}.JPEG"])
    paths = [f"{root}/Annotations/{frame.video_id}.xml" for frame in frames]
    ids = {wnid: i for i, wnid in enumerate(CLASSES)}
    table = annotation_cache.load_or_parse(
        lambda: frame_xml.parse_files(paths, classes=ids, other_classes="drop"),
        root=root, name=path.stem, list_text=text, paths=paths, classes=ids)
    return (make_dicts(frames, table, video_index),
            {"thing_classes": list(CLASSES.values()), "wnids": list(CLASSES)})
