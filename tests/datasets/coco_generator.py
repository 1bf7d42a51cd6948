"""Writes a file of annotations in COCO's format as large as one likes: ``python coco_generator.py FILE``."""
import json
import random
import sys

TRAIN2017 = dict(images=118_287, annotations=860_001)
CLASSES = tuple(f'class {number}' for number in range(80))


def write_coco(path, images, annotations):
    """A good file. Its polygons are as long as COCO's: train2017's size makes 450 MB."""
    numbers = random.Random(0)
    shapes = [', '.join(f'{numbers.uniform(10, 90):.2f}' for _ in range(2 * numbers.choice([8, 12, 20, 30, 60])))
              for _ in range(200)]
    address = 'http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg'
    with open(path, 'w') as file:
        file.write('{"images": [')
        for number in range(images):
            image = dict(license=3, file_name=f'{number:012d}.jpg', coco_url=address, height=480, width=640,
                         date_captured='2013-11-14 11:18:45', flickr_url=address, id=number)
            file.write((', ' if number else '') + json.dumps(image))
        categories = [dict(id=number, name=name, supercategory='thing') for number, name in enumerate(CLASSES)]
        file.write(f'], "categories": {json.dumps(categories)}, "annotations": [')
        for number in range(annotations):
            file.write((', ' if number else '') + (
                f'{{"segmentation": [[{shapes[number % 200]}]], "area": {number % 9999 + 1.5}, "iscrowd": 0, '
                f'"image_id": {number % images}, "bbox": [{number % 300 + .25}, {number % 200 + .5}, 99.5, 88.12], '
                f'"category_id": {number % 80}, "id": {number + 1}}}'))
        file.write(']}')


if __name__ == '__main__':
    write_coco(sys.argv[1], **TRAIN2017)
