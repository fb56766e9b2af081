"""Draws what networks found, for docs/NETWORKS.md. It needs numpy, pillow and safetensors.

    python3 docs/networks.py letters PICTURE OUT.png
    python3 docs/networks.py blazeface PICTURE OUTPUTS.safetensors OUT.jpg
    python3 docs/networks.py centerface PICTURE OUTPUTS.safetensors OUT.jpg
    python3 docs/networks.py text PICTURE OUTPUTS.safetensors OUT.jpg

`letters` draws lines of text on a picture, for the network that finds text.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import load_file

LEAST = 0.5  # The least score of what is drawn.
COLOUR = (255, 220, 60)


def without_overlaps(found):
    """The best of boxes that show the same: those that share more than three tenths of their area."""
    kept = []
    for score, box, points in sorted(found, key=lambda one: -one[0]):
        def shared(other):
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            inside = max(width, 0) * max(height, 0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
            return inside / (sum(areas) - inside)

        if all(shared(other) < 0.3 for _, other, _ in kept):
            kept.append((score, box, points))
    return kept


def blazeface(outputs):
    """Boxes and points from 0 to 1. Two of each of 16 x 16 places and six of each of 8 x 8 are asked for a face."""
    places = [(x, y, side) for side, each in ((16, 2), (8, 6)) for y in range(side) for x in range(side)
              for _ in range(each)]
    found = []
    for (x, y, side), numbers, score in zip(places, outputs["regressors"][0], outputs["classificators"][0, :, 0]):
        score = 1 / (1 + np.exp(-np.clip(score, -50, 50)))
        if score >= LEAST:
            pairs = numbers.reshape(8, 2) / 128
            centre = np.array([(x + 0.5) / side, (y + 0.5) / side])
            middle, half = centre + pairs[0], pairs[1] / 2
            found.append((score, [*(middle - half), *(middle + half)], pairs[2:] + centre))
    return found


def centerface(outputs):
    """Boxes and points from 0 to 1. A map says where faces' middles are, others their sizes and the rest of their places."""
    heat, scale, offset, marks = (outputs[name][0] for name in ("537", "538", "539", "540"))
    found = []
    for row, column in zip(*np.where(heat[0] >= LEAST)):
        height, width = np.exp(scale[:, row, column])
        top = row + offset[0, row, column] + 0.5 - height / 2
        left = column + offset[1, row, column] + 0.5 - width / 2
        points = marks[:, row, column].reshape(5, 2)[:, ::-1] * [width, height] + [left, top]
        size = np.array([heat.shape[2], heat.shape[1]])
        box = [*(np.array([left, top]) / size), *(np.array([left + width, top + height]) / size)]
        found.append((heat[0, row, column], box, points / size))
    return found


def draw_faces(picture, found):
    size = np.array(picture.size)
    draw = ImageDraw.Draw(picture)
    for score, box, points in without_overlaps(found):
        corners = np.array(box).reshape(2, 2) * size
        print(f"a face, score {score:.3f}, from {corners[0].round()} to {corners[1].round()} of {picture.size}")
        draw.rectangle([*corners[0], *corners[1]], outline=COLOUR, width=3)
        for x, y in points * size:
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=COLOUR)
    return picture


def draw_text(picture, outputs):
    """The map over the picture: bright where text is."""
    (likely,) = outputs.values()
    likely = Image.fromarray((255 * likely[0, 0]).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    share = np.mean(np.array(likely) > 255 * LEAST)
    print(f"text covers {100 * share:.1f} % of the picture")
    return Image.composite(Image.new("RGB", picture.size, COLOUR), Image.eval(picture, lambda value: value // 3 * 2), likely)


def letters(picture):
    picture = picture.resize((640, 512))
    draw = ImageDraw.Draw(picture)
    for (x, y), text, size in (((30, 30), "WHOLE NETWORKS", 48), ((330, 400), "on any GPU", 40), ((30, 460), "2026", 34)):
        font = ImageFont.load_default(size)
        draw.text((x + 2, y + 2), text, fill=(0, 0, 0), font=font)
        draw.text((x, y), text, fill=(255, 255, 255), font=font)
    return picture


def main(what, picture, *rest):
    picture = Image.open(picture).convert("RGB")
    if what == "letters":
        letters(picture).save(rest[0])
        return
    outputs = load_file(rest[0])
    if what == "text":
        result = draw_text(picture, outputs)
    else:
        result = draw_faces(picture, {"blazeface": blazeface, "centerface": centerface}[what](outputs))
    result.save(rest[1], quality=88)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
